/* image: decode, encode, resize, morphology, colour maps, drawing. Pixels are BlemishImage (interleaved 8-bit);
 * images made here are packed (stride = width * channels) and freed with image_free. */
#ifndef BLEMISH_IMAGE_H
#define BLEMISH_IMAGE_H

#include "base/base.h"

/* Largest width or height that is decoded, and largest pixel count: a hostile header cannot ask for more. */
#define IMAGE_SIDE_MAX 65500
#define IMAGE_PIXELS_MAX ((size_t)1 << 28)

/* ---- decode.c: by content, not by file name: JPEG, PNG, TIFF, BMP -------------------------------------- */
/* To RGB. Errors (with the path): IO, FORMAT, MEMORY, and UNSUPPORTED for what is valid but not a grey or
 * colour picture of integers (CMYK, float TIFF), or a compressed BMP. A file that is cut or has lost data is refused,
 * never half read. */
BlemishStatus image_decode(BlemishImage *out, const char *path, Error *e);
/* To one channel of 0 and 1: 1 where any colour component is not 0 (alpha and EXIF orientation as image_decode). JPEG
 * data, in a TIFF too, is 1 from IMAGE_MASK_LOSSY up: compression leaves faint values in the black around an edge. */
#define IMAGE_MASK_LOSSY 128
BlemishStatus image_decode_mask(BlemishImage *out, const char *path, Error *e);
/* Width and height after EXIF orientation, without decoding the pixels. */
BlemishStatus image_probe(const char *path, size_t *width, size_t *height, Error *e);
BlemishStatus image_new(BlemishImage *out, size_t width, size_t height, int channels, Error *e);
/* The pixels of an image made here, for writing. */
uint8_t *image_pixels(BlemishImage *image);
void image_free(BlemishImage *image);
/* A copy that stands as EXIF's orientation (1 to 8) says of the stored picture. */
BlemishStatus image_orient(const BlemishImage *in, int orientation, BlemishImage *out, Error *e);

/* ---- encode.c ------------------------------------------------------------------------------------------- */
/* Both write whole files or none (AtomicFile). Errors: ARGUMENT (no pixels), IO, MEMORY. */
BlemishStatus image_write_png(const BlemishImage *image, const char *path, Error *e);
BlemishStatus image_write_tiff_f32(const float *values, size_t width, size_t height, const char *path, Error *e);

/* ---- encode_memory.c: *size bytes at *bytes, the caller's, freed by free() --------------------------------- */
typedef struct Palette {
    size_t count; /* 1 to 256 */
    uint8_t rgba[256][4];
} Palette;
/* Quality 1 to 100; colour at half resolution. */
BlemishStatus image_encode_jpeg(const BlemishImage *image, int quality, uint8_t **bytes, size_t *size, Error *e);
/* PNG of 8-bit indexes, all below palette->count. */
BlemishStatus image_encode_indexed(const uint8_t *indexes, size_t width, size_t height, const Palette *palette,
                                   uint8_t **bytes, size_t *size, Error *e);

/* ---- resize.c ------------------------------------------------------------------------------------------- */
/* Bilinear, half-pixel centres, no antialiasing (OpenCV's INTER_LINEAR), then (v / 255 - mean) / std of ImageNet:
 * out is (height, width, 3) floats. Grey images are replicated. Parallel over rows. */
void image_to_input(const BlemishImage *image, size_t height, size_t width, float *out);
extern const float image_mean[3], image_std[3];
/* Makes an input 0, the ImageNet mean, wherever the region of interest (pixels) is 0. */
void roi_fill(const uint8_t *roi, size_t pixels, float *input);
/* Bilinear (half-pixel centres) of one float plane. */
void plane_resize_bilinear(const float *in, size_t in_height, size_t in_width, float *out, size_t height, size_t width);
/* The same, of output rows from .. end - 1 alone; the others stay as they are. */
void plane_resize_bilinear_rows(const float *in, size_t in_height, size_t in_width, float *out, size_t height,
                                size_t width, size_t from, size_t end);
/* Bilinear with align_corners = True (masks to feature resolution). */
void plane_resize_bilinear_corners(const float *in, size_t in_height, size_t in_width, float *out, size_t height,
                                   size_t width);
/* Nearest neighbour as OpenCV's INTER_NEAREST: source index = floor(i * in / out). */
void mask_resize_nearest(const uint8_t *in, size_t in_height, size_t in_width, uint8_t *out, size_t height,
                         size_t width);
/* 8-bit bilinear, for pictures. */
BlemishStatus image_resize(const BlemishImage *image, size_t width, size_t height, BlemishImage *out, Error *e);

/* ---- tiles.c: overlapping windows that cover an image ----------------------------------------------------- */
/* One axis. The tiles are evenly spread from border to border, as few as it takes for neighbours to share `overlap`
 * (below `tile`) pixels or more; an axis no longer than a tile has one. */
typedef struct TileAxis {
    size_t length, tile, count;
} TileAxis;
TileAxis tile_axis(size_t length, size_t tile, size_t overlap);
/* Where tile i begins; in an image of fewer than 2^32 pixels. */
size_t tile_first(const TileAxis *a, size_t i);
/* weight (tile): what each pixel of tile i counts. At every pixel of the axis the weights of all tiles add up to 1 (to
 * float rounding; exactly 1 where there is one), and they fall to nearly 0 at an edge inside the image. */
void tile_weights(const TileAxis *a, size_t i, float *weight);
/* The tiles of an image, numbered in raster order. overlap is the part of a tile's side that neighbours share, 0 to
 * less than 1. */
typedef struct TileGrid {
    size_t overlap_y, overlap_x, count;
    TileAxis y, x;
} TileGrid;
TileGrid tile_grid(size_t height, size_t width, size_t tile_height, size_t tile_width, float overlap);
void tile_place(const TileGrid *grid, size_t tile, size_t *y, size_t *x);
/* That tile of the image the grid was made for; as image_window. */
BlemishImage tile_window(const TileGrid *grid, size_t tile, const BlemishImage *image, uint8_t *scratch);
/* The window of height x width at (y, x), which begins inside the image. Its pixels are the image's own where it ends
 * inside, else they lie in scratch (height * width * channels bytes), continued by the picture's mirror image. */
BlemishImage image_window(const BlemishImage *image, size_t y, size_t x, size_t height, size_t width, uint8_t *scratch);

/* ---- morphology.c: masks are (height, width) bytes of 0 and 1 -------------------------------------------- */
/* 8-connected components: labels (height, width) gets 0 for background, 1..*count in raster order of each
 * component's first pixel. */
BlemishStatus mask_components(const uint8_t *mask, size_t height, size_t width, uint32_t *labels, uint32_t *count,
                              Error *e);
/* Dilation by a size x size square (odd), anchored at its centre, zero outside. in and out may not overlap. */
BlemishStatus mask_dilate_square(const uint8_t *mask, size_t height, size_t width, size_t size, uint8_t *out, Error *e);
/* Exact euclidean distance of every mask pixel to the nearest pixel outside the mask, 0 outside (SciPy's
 * distance_transform_edt: the border of the picture is not background). A mask without background gives the
 * largest finite value everywhere: callers see it as one component of equal distance. */
BlemishStatus mask_distance(const uint8_t *mask, size_t height, size_t width, float *distance, Error *e);
/* Loss weights D: (distance / largest distance of its component)^2 * 3 inside each 8-connected component, else 1. */
BlemishStatus mask_distance_weights(const uint8_t *mask, size_t height, size_t width, float *weights, Error *e);

/* ---- polygon.c ------------------------------------------------------------------------------------------- */
/* Sets to 1 the pixels of a (height, width) mask whose centre lies inside the polygon by the even-odd rule. points are
 * `count` pairs x, y in pixels, the origin at the picture's corner, so that the first pixel's centre is (0.5, 0.5);
 * they may lie outside the picture, up to POLYGON_FAR. */
#define POLYGON_FAR 1e7
BlemishStatus polygon_fill(const double *points, size_t count, uint8_t *mask, size_t height, size_t width, Error *e);

/* ---- draw.c: onto RGB images made here -------------------------------------------------------------------- */
/* The "turbo" colour map (Mikhailov 2019) of v in [0, 1]. */
void colour_turbo(float v, uint8_t rgb[3]);
/* rgb = (1 - alpha) rgb + alpha colour, alpha in [0, 1], over the map; image and map have the same size. Alpha grows
 * with the map's value so that untouched surface stays readable. */
void draw_heatmap(BlemishImage *image, const float *map);
/* A frame of `thickness` pixels inside the box, clipped to the image. */
void draw_rectangle(BlemishImage *image, size_t x, size_t y, size_t width, size_t height, size_t thickness,
                    const uint8_t rgb[3]);
/* The mask's outline: its pixels that have a side neighbour outside it or outside the picture. */
bool mask_on_contour(const uint8_t *mask, size_t height, size_t width, size_t x, size_t y);
void draw_contour(BlemishImage *image, const uint8_t *mask, const uint8_t rgb[3]);
/* Copies `source` (grey or RGB) into `image` at (x, y), clipped. */
void draw_image(BlemishImage *image, const BlemishImage *source, size_t x, size_t y);

#endif
