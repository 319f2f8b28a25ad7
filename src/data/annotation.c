#include "data/annotation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POINTS_MAX = 100000 }; /* of one polygon: more is no drawing, and would take long at the tallest image */

static BlemishStatus bad(const MaskCanvas *c, const char *where, const char *found, const char *expected, Error *e) {
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found %s, expected %s", c->path, where, found, expected);
}

BlemishStatus canvas_fill(MaskCanvas *c, double *points, size_t count, double scale_x, double scale_y,
                          const char *where, Error *e) {
    if (count < 3 || count > POINTS_MAX) {
        char found[48];
        snprintf(found, sizeof found, "%zu points", count);
        return bad(c, where, found, "a polygon of 3 to 100000", e);
    }
    for (size_t i = 0; i < 2 * count; i++) {
        points[i] *= i % 2 ? scale_y : scale_x;
        if (!(fabs(points[i]) <= POLYGON_FAR)) return bad(c, where, "a point far outside", "one near the image", e);
    }
    return polygon_fill(points, count, c->mask, c->height, c->width, e);
}

static bool size_of(const json_t *object, const char *height, const char *width, MaskCanvas *c) {
    const json_int_t h = json_integer_value(json_object_get(object, height));
    const json_int_t w = json_integer_value(json_object_get(object, width));
    if (h < 1 || w < 1 || h > IMAGE_SIDE_MAX || w > IMAGE_SIDE_MAX) return false;
    c->drawn_height = (size_t)h;
    c->drawn_width = (size_t)w;
    return true;
}

/* Fills the polygon of a JSON array: pairs [x, y], or x, y, x, y, ... where it is flat. */
static BlemishStatus fill_json(MaskCanvas *c, const json_t *array, bool flat, const char *where, Error *e) {
    const size_t size = json_array_size(array), count = flat ? size / 2 : size;
    if (!json_is_array(array) || (flat && size % 2))
        return bad(c, where, "no points", flat ? "[x, y, x, y, ...]" : "[[x, y], ...]", e);
    double *points = array_new(2 * count, sizeof *points, e);
    if (count && points == NULL) return e->status;
    BlemishStatus status = BLEMISH_OK;
    for (size_t i = 0; i < 2 * count && status == BLEMISH_OK; i++) {
        const json_t *pair = json_array_get(array, i / 2);
        const json_t *value = flat ? json_array_get(array, i) : json_array_get(pair, i % 2);
        points[i] = json_number_value(value);
        if (!json_is_number(value) || (!flat && json_array_size(pair) != 2))
            status = bad(c, where, "another point", "numbers", e);
    }
    if (status == BLEMISH_OK)
        status = canvas_fill(c, points, count, (double)c->width / (double)c->drawn_width,
                             (double)c->height / (double)c->drawn_height, where, e);
    array_free(points);
    return status;
}

/* ---- LabelMe --------------------------------------------------------------------------------------------- */

BlemishStatus labelme_draw(MaskCanvas *c, const json_t *json, Error *e) {
    const json_t *shapes = json_object_get(json, "shapes"), *shape;
    size_t i;
    if (!size_of(json, "imageHeight", "imageWidth", c))
        return bad(c, "imageHeight, imageWidth", "no size", "the image's pixels", e);
    json_array_foreach(shapes, i, shape) {
        char where[64];
        const char *type = json_string_value(json_object_get(shape, "shape_type"));
        snprintf(where, sizeof where, "shapes[%zu]", i);
        if (type && strcmp(type, "polygon") != 0) {
            char found[64];
            snprintf(found, sizeof found, "a %.40s", type);
            return bad(c, where, found, "a polygon around the defect", e);
        }
        if (fill_json(c, json_object_get(shape, "points"), false, where, e)) return e->status;
    }
    return BLEMISH_OK;
}

/* ---- COCO ------------------------------------------------------------------------------------------------ */

/* The entry of "images" with the longest file_name that ends the path at a folder's boundary. */
static const json_t *coco_image(const json_t *json, const char *path) {
    const json_t *image, *best = NULL;
    size_t i, longest = 0, length = strlen(path);
    json_array_foreach(json_object_get(json, "images"), i, image) {
        const char *name = json_string_value(json_object_get(image, "file_name"));
        const size_t n = name ? strlen(name) : 0;
        if (n <= longest || n > length || strcmp(path + length - n, name) != 0) continue;
        if (n < length && path[length - n - 1] != '/' && name[0] != '/') continue;
        best = image;
        longest = n;
    }
    return best;
}

static BlemishStatus coco_annotation(MaskCanvas *c, const json_t *annotation, size_t index, Error *e) {
    const json_t *segmentation = json_object_get(annotation, "segmentation"), *polygon;
    char where[64];
    size_t i;
    snprintf(where, sizeof where, "annotations[%zu].segmentation", index);
    if (json_is_object(segmentation)) return coco_runs(c, segmentation, where, e);
    if (json_array_size(segmentation) == 0)
        return bad(c, where, json_object_get(annotation, "bbox") ? "only a box" : "nothing",
                   "polygons or run lengths around the defect", e);
    json_array_foreach(segmentation, i, polygon) {
        if (fill_json(c, polygon, true, where, e)) return e->status;
    }
    return BLEMISH_OK;
}

BlemishStatus coco_draw(MaskCanvas *c, const json_t *json, Error *e) {
    const json_t *image = coco_image(json, c->image), *id = json_object_get(image, "id"), *annotation;
    size_t i;
    if (id == NULL) return bad(c, "images", "no entry with an id", c->image, e);
    if (!size_of(image, "height", "width", c)) return bad(c, "images: height, width", "no size", "pixels", e);
    json_array_foreach(json_object_get(json, "annotations"), i, annotation) {
        if (!json_equal(json_object_get(annotation, "image_id"), id)) continue;
        if (coco_annotation(c, annotation, i, e)) return e->status;
    }
    return BLEMISH_OK;
}

/* ---- YOLO ------------------------------------------------------------------------------------------------ */

static BlemishStatus yolo_line(MaskCanvas *c, char *line, double *points, size_t number, Error *e) {
    char where[32], *rest = NULL;
    size_t values = 0;
    snprintf(where, sizeof where, "line %zu", number);
    for (char *word = strtok_r(line, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest), values++) {
        double value;
        if (!number_parse(word, &value)) return bad(c, where, "another word", "numbers: class x y x y x y ...", e);
        if (values > 2 * POINTS_MAX) return bad(c, where, "more points", "a polygon of 3 to 100000", e);
        if (values > 0) points[values - 1] = value;
    }
    if (values == 0) return BLEMISH_OK; /* a blank line */
    if (values == 5) return bad(c, where, "a box", "a polygon around the defect: class x y x y x y ...", e);
    if (values % 2 == 0) return bad(c, where, "half a point", "class x y x y x y ...", e);
    return canvas_fill(c, points, values / 2, (double)c->width, (double)c->height, where, e);
}

BlemishStatus yolo_draw(MaskCanvas *c, char *text, Error *e) {
    double *points = array_new(2 * POINTS_MAX, sizeof *points, e);
    if (points == NULL) return e->status;
    BlemishStatus status = BLEMISH_OK;
    size_t number = 1;
    for (char *line = text; line && status == BLEMISH_OK; number++) {
        char *end = strchr(line, '\n');
        if (end) *end++ = 0;
        status = yolo_line(c, line, points, number, e);
        line = end;
    }
    array_free(points);
    return status;
}
