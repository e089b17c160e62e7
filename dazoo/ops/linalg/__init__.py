"""Dense linear algebra: products, factorisations, spectra, neighbours."""
