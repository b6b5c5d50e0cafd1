// Holds nothing: the object whose precompiled header the layers share.
