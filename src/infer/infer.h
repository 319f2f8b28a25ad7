/* infer: the session a caller uses - preprocess, backbone, heads, post-process - and what is made of its maps. */
#ifndef BLEMISH_INFER_H
#define BLEMISH_INFER_H

#include "image/image.h"
#include "net/model.h"

/* ---- smooth.c: map logits to the map --------------------------------------------------------------------- */

/* Bilinear upsampling (h, w) -> (H, W) and the Gaussian blur (sigma 4, 25 taps, reflect padding) as one banded
 * matrix per axis, then the sigmoid. */
typedef struct Smooth {
    Band y;            /* (H, h) */
    Band x_columns;    /* (w, W): the horizontal matrix by columns, so that inner loops run along output rows */
    float *wide;       /* scratch (h, W) */
    BlemishStage work; /* of one run, for the profile: multiply-adds of both bands; bytes of logits, scratch and map */
} Smooth;
BlemishStatus smooth_open(Smooth *s, size_t h, size_t w, size_t height, size_t width, Error *e);
/* logits (h, w) -> map (H, W) in [0, 1]; returns the map's largest value. */
float smooth_run(Smooth *s, const float *logits, float *map);
void smooth_close(Smooth *s);

/* values <- sigmoid(values) by a polynomial that vectorises; within 2e-7 of the exact sigmoid. */
void sigmoid_rows(float *values, size_t n);

/* ---- regions.c ------------------------------------------------------------------------------------------- */

/* Connected parts of a map, with scratch that is kept from call to call. Zero-initialised before first use. */
typedef struct Regions {
    BlemishRegion *list;
    size_t count, capacity;
    uint8_t *mask;
    uint32_t *labels;
    size_t pixels; /* that mask and labels have room for */
} Regions;

/* A region of interest: mask is 0 outside, NULL where there is none. */
typedef struct Roi {
    const uint8_t *mask;
    size_t height, width;
} Roi;

typedef struct RegionRules {
    float threshold;
    size_t min_area, border; /* pixels; smaller regions and what is this near to an edge are left out */
    Roi roi;                 /* so is what is outside */
} RegionRules;
/* 8-connected components of map (height, width) >= threshold, largest peak first, equal peaks in raster order of
 * their first pixel. The list is valid until the next call. */
BlemishStatus regions_find(Regions *r, const float *map, size_t height, size_t width, RegionRules rules, Error *e);
/* The same of the map resized to (height, width) into `large`, where only the rows that can reach the threshold are
 * made: most images have none. Map values are 0 or more. */
BlemishStatus regions_find_resized(Regions *r, const float *map, size_t map_height, size_t map_width, float *large,
                                   size_t height, size_t width, RegionRules rules, Error *e);
void regions_close(Regions *r);
/* How many pixels at each end of a map's side have their centre within `border` pixels of the image's edge. */
size_t border_pixels(size_t border, size_t map_side, size_t image_side);
/* Zeroes side_y rows and side_x columns at each edge; returns the largest value of the rest, 0 where there is none. */
float border_clear(float *map, size_t height, size_t width, size_t side_y, size_t side_x);
/* Whether the pixel that holds the centre of pixel (y, x) of a picture (height, width) is inside. */
static inline bool roi_has(const Roi *roi, size_t height, size_t width, size_t y, size_t x) {
    if (roi->mask == NULL) return true;
    return roi->mask[(2 * y + 1) * roi->height / (2 * height) * roi->width + (2 * x + 1) * roi->width / (2 * width)];
}
/* Sets a map to 0 outside; returns the largest value of the rest. */
float roi_clear(const Roi *roi, float *map, size_t height, size_t width);

/* ---- tiles.c: an image judged tile by tile, at its own resolution ------------------------------------------ */

/* What a session by tiles holds besides. */
typedef struct Tiling {
    bool on;
    float overlap;              /* part of a tile's side */
    BlemishImage *windows;      /* (batch) */
    BlemishResult *results;     /* (batch): of the tiles */
    uint8_t *scratch;           /* (batch, H, W, 3): tiles that reach beyond their image; NULL until there is one */
    float *weight_y, *weight_x; /* (H), (W) of a tile */
    float **maps;               /* (batch): each image's map, at its size */
    size_t *map_pixels;         /* (batch): floats there */
} Tiling;
BlemishStatus tiling_open(Tiling *t, size_t batch, const Geometry *g, float overlap, Error *e);
void tiling_close(Tiling *t, size_t batch);
struct Session;
/* One image, which is checked, at `index` of a run: its score is the largest of its tiles', its map their maps blended,
 * at the image's size. Not calibrated. */
BlemishStatus tiling_run(struct Session *s, const BlemishImage *image, size_t index, BlemishResult *result, Error *e);

/* ---- session.c ------------------------------------------------------------------------------------------- */

/* Everything one caller's runs need, allocated when it is opened; the model must outlive it. */
typedef struct Session {
    const Model *model;
    Engine *engine;
    Element type;       /* what the backbone and the heads' products compute in */
    Backbone *backbone; /* of `batch` images */
    Backbone *single;   /* of one image, for what is left of a batch; opened when first needed */
    HeadRunner *heads;
    Smooth smooth;
    size_t batch;
    Tiling tiling;
    float *logits; /* (h, w) of one image */
    float *maps;   /* (batch, H, W) */
    float *large;  /* a map at image size */
    size_t large_pixels;
    Regions regions;
    Profile profile; /* the engine's while it is on */
} Session;

/* settings is never NULL here; its fields are checked. On failure the session is closed. */
BlemishStatus session_open(Session *s, const Model *model, const BlemishSessionSettings *settings, Error *e);
BlemishStatus session_run(Session *s, const BlemishImage *images, size_t count, BlemishResult *results, Error *e);
/* The network alone, on up to a batch of images that are checked: scores and maps as they come, without calibration
 * and verdict. Inside engine_enter. */
BlemishStatus session_forward(Session *s, const BlemishImage *images, size_t count, BlemishResult *results, Error *e);
/* map holds image_height * image_width floats. */
BlemishStatus session_large_map(Session *s, const BlemishResult *result, float *map, Error *e);
/* Regions of the image-size map into `regions`, which is the caller's or s->regions. */
BlemishStatus session_regions(Session *s, const BlemishResult *result, Regions *regions, Error *e);
BlemishStatus session_write_map(Session *s, const BlemishResult *result, const char *path, Error *e);
/* The overlay of one image; the caller frees *out. */
BlemishStatus session_overlay(Session *s, const BlemishImage *image, const BlemishResult *result, BlemishImage *out,
                              Error *e);
void session_set_profile(Session *s, bool on);
BlemishSessionCost session_cost(const Session *s);
void session_close(Session *s);

/* ---- overlay.c ------------------------------------------------------------------------------------------- */

/* A copy of the image with its map (at image size) as a heat map and the regions' boxes, dark outside the region of
 * interest; the caller frees it. */
BlemishStatus overlay_draw(BlemishImage *out, const BlemishImage *image, const float *map, const Regions *regions,
                           Roi roi, Error *e);
/* A copy of the image that is dark outside. */
BlemishStatus overlay_roi(BlemishImage *out, const BlemishImage *image, Roi roi, Error *e);
static inline Roi roi_of_evaluated(const BlemishEvaluated *v) {
    return (Roi){v->roi, v->result.map_height, v->result.map_width};
}

/* ---- picture.c ------------------------------------------------------------------------------------------- */

/* As blemish_picture says. *bytes is freed by free(). */
BlemishStatus picture_encode(const BlemishEvaluated *v, BlemishPictureKind kind, size_t side, uint8_t **bytes,
                             size_t *size, Error *e);

/* ---- gallery.c ------------------------------------------------------------------------------------------- */

/* Rows of three tiles: image, ground truth, heat map with the ground truth's outline, framed green where the verdict
 * agrees with the label and red where not, and dark outside the region of interest. */
typedef struct Gallery {
    size_t tile, columns;
    BlemishImage *rows; /* each 3 tiles wide */
    size_t count, capacity;
} Gallery;
/* tile 16 to 2048 pixels, columns 1 to 64. */
BlemishStatus gallery_open(Gallery *g, size_t tile, size_t columns, Error *e);
BlemishStatus gallery_add(Gallery *g, const BlemishEvaluated *evaluated, Error *e);
BlemishStatus gallery_write(const Gallery *g, const char *path, Error *e);
void gallery_close(Gallery *g);

#endif
