#include "data/annotation.h"
#include "data/layout.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Of polygons: one COCO file may hold those of many images. */
#define FILE_MAX ((size_t)64 << 20)

void mask_reader_close(MaskReader *r) {
    free(r->json_path);
    json_decref(r->json);
    *r = (MaskReader){0};
}

static BlemishStatus load_json(MaskReader *r, const char *path, Error *e) {
    json_error_t error;
    uint8_t *bytes;
    size_t size;
    if (r->json_path && strcmp(r->json_path, path) == 0) return BLEMISH_OK;
    mask_reader_close(r);
    if (file_load(path, "polygons in a JSON file", FILE_MAX, &bytes, &size, e)) return e->status;
    r->json = json_loadb((const char *)bytes, size, 0, &error);
    array_free(bytes);
    if (r->json == NULL)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: JSON: line %d: %s", path, error.line, error.text);
    r->json_path = text_copy(path, e);
    return r->json_path ? BLEMISH_OK : e->status;
}

static BlemishStatus draw(MaskReader *r, MaskCanvas *canvas, bool json, Error *e) {
    if (!json) {
        uint8_t *text;
        size_t size;
        if (file_load(canvas->path, "polygons in a text file", FILE_MAX, &text, &size, e)) return e->status;
        BlemishStatus status = yolo_draw(canvas, (char *)text, e);
        array_free(text);
        return status;
    }
    if (load_json(r, canvas->path, e)) return e->status;
    if (json_is_array(json_object_get(r->json, "shapes"))) return labelme_draw(canvas, r->json, e);
    if (json_is_array(json_object_get(r->json, "images")) && json_is_array(json_object_get(r->json, "annotations")))
        return coco_draw(canvas, r->json, e);
    return error_set(e, BLEMISH_ERROR_FORMAT,
                     "%s: found neither \"shapes\" nor \"images\" and \"annotations\", expected LabelMe's or COCO's "
                     "lists",
                     canvas->path);
}

static BlemishStatus read_drawn(MaskReader *r, const char *path, const char *image, bool json, BlemishImage *mask,
                                Error *e) {
    size_t width, height;
    if (image_probe(image, &width, &height, e) || image_new(mask, width, height, 1, e)) return e->status;
    MaskCanvas canvas = {path, image, image_pixels(mask), height, width, height, width};
    BlemishStatus status = draw(r, &canvas, json, e);
    r->width = canvas.drawn_width;
    r->height = canvas.drawn_height;
    return status;
}

static BlemishStatus read_image(MaskReader *r, const char *path, BlemishImage *mask, Error *e) {
    if (image_decode_mask(mask, path, e)) return e->status;
    r->width = mask->width;
    r->height = mask->height;
    return BLEMISH_OK;
}

/* Adds the pixels of an image file to the mask, which is empty before the first. */
static BlemishStatus unite(MaskReader *r, const char *path, BlemishImage *mask, Error *e) {
    BlemishImage part;
    if (mask->data == NULL) return read_image(r, path, mask, e);
    if (image_decode_mask(&part, path, e)) return e->status;
    BlemishStatus status = BLEMISH_OK;
    if (part.width != mask->width || part.height != mask->height)
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: size: found %zu x %zu, expected %zu x %zu as its neighbours",
                           path, part.width, part.height, mask->width, mask->height);
    for (size_t i = 0; status == BLEMISH_OK && i < part.width * part.height; i++) image_pixels(mask)[i] |= part.data[i];
    image_free(&part);
    return status;
}

static BlemishStatus read_folder(MaskReader *r, const char *folder, BlemishImage *mask, Error *e) {
    Listing files;
    BlemishStatus status = listing_open(&files, folder, LIST_FILES, e);
    for (size_t i = 0; status == BLEMISH_OK && i < files.count; i++) {
        if (!is_image_name(files.names[i])) continue;
        char *path = path_format(e, "%s/%s", folder, files.names[i]);
        status = path ? unite(r, path, mask, e) : e->status;
        free(path);
    }
    listing_close(&files);
    if (status == BLEMISH_OK && mask->data == NULL)
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: found no image, expected the masks of one image", folder);
    return status;
}

BlemishStatus mask_read(MaskReader *r, const char *mask_path, const char *image_path, BlemishImage *mask, Error *e) {
    const char *dot = strrchr(mask_path, '.');
    bool json = dot && strcasecmp(dot, ".json") == 0, text = dot && strcasecmp(dot, ".txt") == 0;
    *mask = (BlemishImage){0};
    BlemishStatus status;
    if (is_folder(mask_path))
        status = read_folder(r, mask_path, mask, e);
    else if (json || text)
        status = read_drawn(r, mask_path, image_path, json, mask, e);
    else
        status = read_image(r, mask_path, mask, e);
    if (status != BLEMISH_OK || memchr(mask->data, 1, mask->width * mask->height) == NULL) image_free(mask);
    return status;
}
