/* Image files of every kind the readers know, made by the libraries' own writers. */
#ifndef HELPER_IMAGE_H
#define HELPER_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

void file_write(const char *path, const void *bytes, size_t size);
uint8_t *file_read(const char *path, size_t *size); /* malloc-owned */

/* Random samples and the RGB a reader must make of them. */
typedef struct Picture {
    size_t width, height, channels;
    int bits;
    uint16_t *samples;        /* height x width x channels, below 2^bits */
    uint16_t palette[3][256]; /* 16-bit colours, used where channels is 1 and palette_used */
    bool palette_used, white_is_zero;
} Picture;
Picture picture_new(size_t width, size_t height, size_t channels, int bits, uint64_t seed);
void picture_free(Picture *p);
void picture_rgb(const Picture *p, size_t x, size_t y, uint8_t rgb[3]);

/* colour_type and interlace as in the PNG header; a palette gets a tRNS chunk too. orientation 0: no eXIf chunk. */
void png_write(const char *path, const Picture *p, int colour_type, bool interlaced, int orientation);

typedef struct TiffKind {
    const char *mode; /* "w", "wb", "w8" */
    int compression, photometric, orientation;
    bool tiled, separate;
} TiffKind;
void tiff_write(const char *path, const Picture *p, TiffKind kind);

/* 8-bit grey or RGB. orientation 0: no EXIF. big: EXIF in Motorola byte order. Not the pixels, but what turbojpeg
 * decodes, is what a reader must make of it: `decoded` gets that (width x height x 3) where it is not NULL. */
void jpeg_write(const char *path, const Picture *p, bool progressive, int subsampling, int orientation, bool big,
                uint8_t *decoded);

#endif
