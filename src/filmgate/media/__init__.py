"""Files of moving and still pictures: PyAV and Pillow at the edge, uint8 RGB frames inside, manifests beside."""
