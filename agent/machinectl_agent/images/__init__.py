"""Images between machines: what an engine has, what of an image it lacks, and only that on its way.

An image is a stack of layers. A layer's *diff id* is the SHA-256 of its tar; its *chain id* names it together with
all layers below it, and is what an engine keeps it by. `docker load` opens no layer whose chain id the engine has: it
may be missing in the archive (seen on 20.10, 26 and 28). So the sender leaves those out of `docker save`'s archive
while it passes. That is true of the classic stores (overlay2 and the like); containerd's wants every blob, and gets
it.

    chains.py    diff ids → chain ids
    tarfiles.py  one archive in, one out, entry by entry, in constant memory
    saved.py     what `docker save` writes, filtered while it is written
    layerdb.py   layers straight from dockerd's folder
    archive.py   a tar file of images: what is in it, is it whole, send it (the controller uses this one, too)
    layout.py    an OCI layout without Docker's own manifest.json
    engine.py    dockerd's API as far as it is about images
    pull.py      from registries, with the dead one named
    ops.py       the verb `images`
    ends.py      the ends of a carry
"""
