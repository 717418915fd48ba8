"""Geometry of the camera: paths as pose files, lenses, rays. Numpy alone; it knows neither models nor pictures."""
