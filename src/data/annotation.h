/* annotation: masks that are drawn as polygons or run lengths. Only src/data includes it. */
#ifndef BLEMISH_ANNOTATION_H
#define BLEMISH_ANNOTATION_H

#include "data/data.h"

#include <jansson.h>

/* A mask being drawn for one image. */
typedef struct MaskCanvas {
    const char *path;  /* of the annotation, for messages */
    const char *image; /* path of the image */
    uint8_t *mask;     /* (height, width), zeroed at first; the image's size */
    size_t height, width;
    size_t drawn_height, drawn_width; /* the size that the file says it was drawn for */
} MaskCanvas;

/* LabelMe: every polygon of "shapes", whatever its label. */
BlemishStatus labelme_draw(MaskCanvas *canvas, const json_t *json, Error *e);
/* COCO: every annotation of the image whose file_name ends the image's path, whatever its category. */
BlemishStatus coco_draw(MaskCanvas *canvas, const json_t *json, Error *e);
/* YOLO segmentation: a line "class x y x y x y ..." a polygon, in parts of the width and the height. text is changed.
 */
BlemishStatus yolo_draw(MaskCanvas *canvas, char *text, Error *e);

/* Fills a polygon of `count` points scale_x * x, scale_y * y into the canvas; `where` names it in messages. */
BlemishStatus canvas_fill(MaskCanvas *canvas, double *points, size_t count, double scale_x, double scale_y,
                          const char *where, Error *e);
/* COCO's run lengths: {"size": [height, width], "counts": [...] or "..."}. */
BlemishStatus coco_runs(MaskCanvas *canvas, const json_t *runs, const char *where, Error *e);

#endif
