/* What is learned from, one by one: the training images, or by tiles the parts of them whose label is known. */
#ifndef BLEMISH_PIECES_H
#define BLEMISH_PIECES_H

#include "data/data.h"
#include "net/net.h"
#include "train/train.h"

typedef struct Pieces {
    Sample *owned;          /* tiles: copies of their image's sample, whose texts they share; NULL without tiles */
    const Sample **samples; /* normals, then anomalies */
    size_t normals, anomalies;
} Pieces;

/* The training samples with a label that the regime uses. With tiles the headers of all images and the masks are read:
 * a tile of a good image is normal; one of a marked image is normal without a marked pixel and anomalous with one that
 * lies TILE_MARGIN pixels (or half the overlap, where that is less) inside each edge that is not the image's. A tile
 * with less is left out - the next one shows that part better - and so are images that are known to be defective but
 * not where. The manifest must outlive the pieces. */
enum { TILE_MARGIN = 8 };
BlemishStatus pieces_open(Pieces *p, const Manifest *manifest, const Geometry *g, const Recipe *recipe, Error *e);
void pieces_close(Pieces *p);

/* Reads masks of samples and of tiles; the last image's mask is kept for its next tile. Zeroed to start with. */
typedef struct PieceMasks {
    MaskReader reader;
    const char *path;   /* of the mask kept */
    BlemishImage whole; /* that mask, at its image's size */
} PieceMasks;
/* As mask_read, of a tile its window (height, width). mask->data is NULL where the sample has no mask. */
BlemishStatus piece_mask(PieceMasks *m, const Sample *sample, size_t height, size_t width, BlemishImage *mask,
                         Error *e);
void piece_masks_close(PieceMasks *m);

#endif
