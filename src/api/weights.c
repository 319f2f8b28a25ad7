#include "api/api.h"

BLEMISH_API int blemish_weights_known(size_t index, BlemishWeights *weights) {
    return weights && weights_known(index, weights);
}

BLEMISH_API int blemish_weights_folder(size_t index, char *path, size_t size) {
    return path && size && weights_folder(index, path, size);
}

BLEMISH_API BlemishStatus blemish_weights_find(const char *backbone, char *path, size_t size, char *error) {
    Error e = {0};
    if (backbone == NULL || path == NULL)
        error_null(&e, backbone ? "path" : "backbone");
    else
        e.status = weights_find(backbone, path, size, &e);
    return error_report(&e, error);
}

BLEMISH_API BlemishStatus blemish_weights_import(const char *file, const char *backbone, char *path, size_t size,
                                                 char *error) {
    Error e = {0};
    if (file == NULL || path == NULL)
        error_null(&e, file ? "path" : "file");
    else
        e.status = weights_import(file, backbone, path, size, &e);
    return error_report(&e, error);
}

BLEMISH_API BlemishStatus blemish_weights_fetch(const char *name, const char *base_url, BlemishProgressFn progress,
                                                void *progress_user, char *path, size_t size, char *error) {
    Error e = {0};
    if (name == NULL || path == NULL)
        error_null(&e, name ? "path" : "name");
    else
        e.status = weights_fetch(name, base_url, progress, progress_user, path, size, &e);
    return error_report(&e, error);
}
