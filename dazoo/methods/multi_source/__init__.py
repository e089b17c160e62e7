"""Deep and shallow methods that tell several sources apart."""
