"""Front door of the command line; the same as the console command `essnet`."""

from essnet.cli.begin import main

if __name__ == "__main__":
    main()
