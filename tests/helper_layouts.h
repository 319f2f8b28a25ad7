/* Small data sets in the published layouts: the right names and formats, tiny pictures. A defect is a black square; its
 * mask is 255 there. */
#ifndef BLEMISH_HELPER_LAYOUTS_H
#define BLEMISH_HELPER_LAYOUTS_H

#include "data/data.h"
#include "helper_model.h"

enum { FIXTURE_WIDTH = 40, FIXTURE_HEIGHT = 36, SQUARE_X = 12, SQUARE_Y = 8, SQUARE = 10 };

/* All of them write root/name and make its folders. The picture's seed comes from its name, so no two are the same; PNG,
 * JPEG or BMP by its extension. */
void put_picture(const char *root, const char *name, bool defect);
void put_mask(const char *root, const char *name, bool defect);
void put_text(const char *root, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void put_bytes(const char *root, const char *name, const void *bytes, size_t length);

/* A pair (id, is_segmented) of a published split. */
typedef struct Pair {
    int id;
    bool segmented;
} Pair;
/* As Python 3's pickle.dump writes them: one list of pairs, or a tuple of two lists where `second` is not NULL. */
void put_split(const char *root, const char *name, const Pair *first, size_t first_count, const Pair *second,
               size_t second_count);

typedef struct Fixture {
    const char *name, *layout;
    void (*write)(const char *root);
    const char *path;     /* what to open, below the root */
    const char *expected; /* the manifest as manifest_text writes it */
} Fixture;
/* The index-th fixture; NULL past the end. */
const Fixture *fixture_at(size_t index);
const Fixture *fixture_named(const char *name);

/* One line a sample: its path from root on, label, split, type, mask. malloc-owned. */
char *manifest_text(const Manifest *m, const char *root);

#endif
