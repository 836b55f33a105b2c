"""Builds the 1,284-class data set out of LVIS v1 and COCO-Stuff: one 16-bit mask for each image.

What is written, below the output folder:

    classes.json                  the classes: id 1..1284, name, source, frequency group, synset
    build.json                    checksums of the annotation files, the image folder, counts, bad annotations
    masks/<split>/<12 digits>.png 16-bit grey: 0 is ignored, 1..1284 the class id
    masks/<split>/images.txt      the split's images relative to the image folder, in the order of their id;
                                  written last: a split without it is not done
    masks/<split>/masks.jsonl     for each mask its checksum, pixels per class, and bad annotations

An annotation goes from its JSON text (`annotations`) to runs (`segmentations`), the runs of an image are painted
(`painting`) and written (`png`), all of it in processes beside the main one (`essnet.workers`). What is there and whole
is not made again (`records`).
"""
