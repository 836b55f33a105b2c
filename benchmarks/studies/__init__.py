"""What the pages below docs/studies/ are made from: stored results, and tables and pictures of them."""
