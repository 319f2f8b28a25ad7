/* What the four readers share: each turns a whole file in memory into pixels as stored and their orientation. */
#ifndef BLEMISH_IMAGE_DECODE_H
#define BLEMISH_IMAGE_DECODE_H

#include "image/image.h"

typedef struct Encoded {
    const char *path; /* for messages */
    const uint8_t *bytes;
    size_t size;
} Encoded;

typedef enum Wanted {
    WANT_SIZE,   /* width, height and orientation only */
    WANT_COLOUR, /* RGB */
    WANT_MASK    /* RGB in which a component is 0 only where the stored one is, 16 bits not being rounded to 0; of JPEG
                    data decode_lossy_mask's */
} Wanted;

typedef struct Decoded {
    size_t width, height; /* as stored */
    int orientation;      /* EXIF's 1 to 8 */
    BlemishImage image;   /* RGB, the caller's also after a failure */
} Decoded;

BlemishStatus jpeg_decode(const Encoded *file, Wanted wanted, Decoded *out, Error *e);
BlemishStatus png_decode(const Encoded *file, Wanted wanted, Decoded *out, Error *e);
BlemishStatus tiff_decode(const Encoded *file, Wanted wanted, Decoded *out, Error *e);
BlemishStatus bmp_decode(const Encoded *file, Wanted wanted, Decoded *out, Error *e);

/* As image_new, its pixels being left to the caller: zeroing a photograph takes a tenth of decoding it. */
BlemishStatus image_new_unset(BlemishImage *out, size_t width, size_t height, int channels, Error *e);
/* Refuses sizes outside 1 to IMAGE_SIDE_MAX, more pixels than IMAGE_PIXELS_MAX, and more than `most`: what a file of
 * this length can hold at the format's best compression, so that a few bytes cannot ask for gigabytes. */
BlemishStatus decode_check_size(const char *path, size_t width, size_t height, size_t most, Error *e);
/* round(v * 255 / 65535); for masks not 0 unless v is. */
uint8_t decode_sample16(unsigned v, Wanted wanted);
/* A mask's component out of JPEG data, which rings around edges: 0 below IMAGE_MASK_LOSSY. */
uint8_t decode_lossy_mask(uint8_t v);
/* The orientation tag of an EXIF block (a TIFF header and its first directory); 1 where there is no valid one. */
int exif_orientation(const uint8_t *exif, size_t size);

#endif
