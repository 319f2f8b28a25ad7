/* Magnetic tile defects (Huang, Qiu, Yuan 2018): MT_<type>/Imgs/<name>.jpg with masks <name>.png beside them. */
#include "data/layout.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool matches(const char *path) {
    Error e = {0};
    Listing folders;
    bool found = false;
    if (!is_folder(path) || listing_open(&folders, path, LIST_FOLDERS, &e) != BLEMISH_OK) return false;
    for (size_t i = 0; i < folders.count && !found; i++) {
        char *images = path_format(&e, "%s/%s/Imgs", path, folders.names[i]);
        found = images && strncmp(folders.names[i], "MT_", 3) == 0 && is_folder(images);
        free(images);
    }
    listing_close(&folders);
    return found;
}

static BlemishStatus read_image(Manifest *m, const char *folder, const char *name, const char *type, Error *e) {
    bool good = strcmp(type, "MT_Free") == 0;
    Sample sample = {.type = (char *)(good ? "good" : type),
                     .label = good ? BLEMISH_LABEL_GOOD : BLEMISH_LABEL_DEFECT,
                     .split = SPLIT_UNSET};
    char *mask = path_format(e, "%s/%.*s.png", folder, stem_length(name), name);
    if (mask && is_file(mask)) sample.mask_path = mask;
    sample.path = path_format(e, "%s/%s", folder, name);
    BlemishStatus status = sample.path && mask ? manifest_add(m, &sample, e) : e->status;
    free(sample.path);
    free(mask);
    return status;
}

static BlemishStatus read_type(Manifest *m, const char *folder, const char *type, Error *e) {
    Listing files;
    BlemishStatus status = listing_open(&files, folder, LIST_FILES, e);
    for (size_t i = 0; status == BLEMISH_OK && i < files.count; i++) {
        const char *extension = strrchr(files.names[i], '.');
        if (extension && strcasecmp(extension, ".jpg") == 0) status = read_image(m, folder, files.names[i], type, e);
    }
    listing_close(&files);
    return status;
}

static BlemishStatus read_all(Manifest *m, const char *path, const BlemishDatasetSettings *settings, Error *e) {
    (void)settings;
    Listing folders;
    BlemishStatus status = listing_open(&folders, path, LIST_FOLDERS, e);
    for (size_t i = 0; status == BLEMISH_OK && i < folders.count; i++) {
        if (strncmp(folders.names[i], "MT_", 3) != 0) continue;
        char *images = path_format(e, "%s/%s/Imgs", path, folders.names[i]);
        status = images ? read_type(m, images, folders.names[i], e) : e->status;
        free(images);
    }
    listing_close(&folders);
    return status;
}

const Layout layout_magnetic_tile = {"magnetic-tile", "MT_*/Imgs", matches, read_all, 0};
