"""Image classification data: sources, label noise, splits, augmentation, feeding."""
