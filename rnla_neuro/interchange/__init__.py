"""Files that other tools of the field read: Neo objects, NIX, NWB; NIR graphs."""
