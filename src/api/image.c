#include "api/api.h"

BLEMISH_API BlemishStatus blemish_image_load(BlemishImage *image, const char *path, char *error) {
    Error e = {0};
    if (image == NULL || path == NULL) {
        error_null(&e, image ? "path" : "image");
        return error_report(&e, error);
    }
    *image = (BlemishImage){0};
    e.status = image_decode(image, path, &e);
    return error_report(&e, error);
}

BLEMISH_API BlemishStatus blemish_mask_load(BlemishImage *mask, const char *path, char *error) {
    Error e = {0};
    if (mask == NULL || path == NULL) {
        error_null(&e, mask ? "path" : "mask");
        return error_report(&e, error);
    }
    *mask = (BlemishImage){0};
    e.status = image_decode_mask(mask, path, &e);
    return error_report(&e, error);
}

BLEMISH_API void blemish_image_free(BlemishImage *image) {
    if (image) image_free(image);
}
