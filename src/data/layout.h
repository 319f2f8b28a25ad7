/* layout: what the readers of published layouts share. Only src/data includes it. */
#ifndef BLEMISH_LAYOUT_H
#define BLEMISH_LAYOUT_H

#include "data/data.h"

/* One way of storing a data set: how it is recognised, what that is in words, and its reader. A reader appends its
 * samples in any order; those it leaves at SPLIT_UNSET are drawn by manifest_open. A reader that follows a published
 * choice of the masks to keep sets the manifest's masks_chosen. */
typedef struct Layout {
    const char *name, *sign;
    bool (*matches)(const char *path);
    BlemishStatus (*read)(Manifest *m, const char *path, const BlemishDatasetSettings *settings, Error *e);
    int folds; /* of its cross validation; 0: none */
} Layout;

extern const Layout layout_mvtec, layout_visa, layout_ksdd2, layout_sensum, layout_magnetic_tile, layout_folder,
    layout_csv;

#define SPLIT_UNSET ((BlemishSplit)-1)

/* split.c: manifest_split, but only of the samples at SPLIT_UNSET; the manifest is sorted. */
BlemishStatus split_unset(Manifest *m, double test_fraction, uint64_t seed, Error *e);
/* The same as one of `folds` parts: of each type, shuffled, every folds-th image from the fold-th on is tested. */
BlemishStatus split_fold(Manifest *m, size_t folds, size_t fold, uint64_t seed, Error *e);
/* Drops masks of the training split so that settings' mask_count or mask_ratio of them are left. A larger number keeps
 * what a smaller one does. */
BlemishStatus split_masks(Manifest *m, const BlemishDatasetSettings *settings, Error *e);

/* ---- split_list.c: the pickles that published splits come as --------------------------------------------- */
/* Pairs (id, is_segmented). */
typedef struct SplitEntry {
    char *id; /* a file's stem; numbers are written with at least `digits` digits */
    bool segmented;
} SplitEntry;
typedef struct SplitList {
    SplitEntry *entries;
    size_t count;
} SplitList;
/* Reads one list of pairs, or `count` > 1 of them in a tuple. Closes them on failure. */
BlemishStatus split_lists_read(SplitList *lists, size_t count, int digits, const char *path, Error *e);
void split_lists_close(SplitList *lists, size_t count);

/* ---- listing.c ------------------------------------------------------------------------------------------ */
/* The names in one folder, sorted by strcmp; hidden ones are left out, symbolic links are followed. */
typedef struct Listing {
    char **names;
    size_t count, capacity;
} Listing;
typedef enum ListingKind { LIST_FOLDERS, LIST_FILES } ListingKind;
BlemishStatus listing_open(Listing *l, const char *folder, ListingKind kind, Error *e);
void listing_close(Listing *l);

bool is_folder(const char *path);
bool is_file(const char *path);
/* By extension, in any case: jpg, jpeg, png, tif, tiff, bmp. */
bool is_image_name(const char *name);
/* Length of a file name without its extension. */
int stem_length(const char *name);
/* malloc-owned; NULL with *e set when memory is short. */
char *path_format(Error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "folder/name" into its two parts, malloc-owned; a path without a name of its own (".") is resolved first. */
BlemishStatus path_split(const char *path, char **folder, char **name, Error *e);
/* The image file folder/stem.EXT of any image extension, else folder/stem_mask.EXT: *mask is malloc-owned, NULL
 * where there is none. */
BlemishStatus find_mask(const char *folder, const char *stem, int length, char **mask, Error *e);

#endif
