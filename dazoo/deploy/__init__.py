"""What becomes of a fitted model outside: files for other programs, the hub, a page to try it on."""
