from essnet.coco_lvis.label_space import LVIS_CLASSES as LVIS_CLASSES
from essnet.coco_lvis.label_space import STUFF_CLASSES as STUFF_CLASSES
from essnet.labels import IGNORE_INDEX as IGNORE_INDEX
from essnet.losses import EmbeddingLoss as EmbeddingLoss
from essnet.losses import draw_negatives as draw_negatives
from essnet.losses import embedding_softmax_loss as embedding_softmax_loss
from essnet.losses import full_softmax_loss as full_softmax_loss
from essnet.losses import knn_softmax_loss as knn_softmax_loss
from essnet.losses import margin_regulariser as margin_regulariser
from essnet.losses import sampled_softmax_loss as sampled_softmax_loss
from essnet.metrics import ConfusionCounts as ConfusionCounts
from essnet.neighbours import build_index as build_index
from essnet.neighbours import nearest_class as nearest_class

__version__: str
