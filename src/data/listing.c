#include "data/layout.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char *const extensions[] = {"png", "jpg", "jpeg", "tif", "tiff", "bmp"};
enum { EXTENSIONS = sizeof extensions / sizeof *extensions };

bool is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool is_file(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

int stem_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return (int)(dot ? (size_t)(dot - name) : strlen(name));
}

bool is_image_name(const char *name) {
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < EXTENSIONS; i++)
        if (strcasecmp(dot + 1, extensions[i]) == 0) return true;
    return false;
}

char *path_format(Error *e, const char *format, ...) {
    char *path = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&path, format, args);
    va_end(args);
    if (n >= 0) return path;
    error_set(e, BLEMISH_ERROR_MEMORY, "out of memory for a path");
    return NULL;
}

BlemishStatus path_split(const char *path, char **folder, char **name, Error *e) {
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    char *resolved = NULL;
    *folder = *name = NULL;
    if (*last == 0 || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
        if ((resolved = realpath(path, NULL)) == NULL) return error_errno(e, "%s", path);
        path = resolved;
        slash = strrchr(path, '/');
        last = slash + 1;
    }
    *folder = slash ? path_format(e, "%.*s", slash == path ? 1 : (int)(slash - path), path) : path_format(e, ".");
    *name = path_format(e, "%s", last);
    free(resolved);
    if (*folder && *name) return BLEMISH_OK;
    free(*folder);
    free(*name);
    *folder = *name = NULL;
    return e->status;
}

BlemishStatus find_mask(const char *folder, const char *stem, int length, char **mask, Error *e) {
    const char *const suffixes[] = {"", "_mask"};
    for (size_t s = 0; s < 2; s++)
        for (size_t x = 0; x < 2 * EXTENSIONS; x++) {
            char extension[8]; /* lower case, then upper case */
            snprintf(extension, sizeof extension, "%s", extensions[x % EXTENSIONS]);
            for (char *c = extension; x >= EXTENSIONS && *c; c++) *c = (char)(*c - 'a' + 'A');
            *mask = path_format(e, "%s/%.*s%s.%s", folder, length, stem, suffixes[s], extension);
            if (*mask == NULL) return e->status;
            if (is_file(*mask)) return BLEMISH_OK;
            free(*mask);
        }
    *mask = NULL;
    return BLEMISH_OK;
}

static BlemishStatus listing_add(Listing *l, const char *name, Error *e) {
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 64;
        char **names = reallocarray(l->names, capacity, sizeof *names);
        if (names == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "out of memory for %zu names", capacity);
        l->names = names;
        l->capacity = capacity;
    }
    l->names[l->count] = text_copy(name, e);
    return l->names[l->count] && ++l->count ? BLEMISH_OK : e->status;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

BlemishStatus listing_open(Listing *l, const char *folder, ListingKind kind, Error *e) {
    *l = (Listing){0};
    DIR *dir = opendir(folder);
    if (dir == NULL) return error_errno(e, "%s", folder);
    BlemishStatus status = BLEMISH_OK;
    while (status == BLEMISH_OK) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno) status = error_errno(e, "%s", folder);
            break;
        }
        if (entry->d_name[0] == '.') continue;
        struct stat s;
        /* A link that leads nowhere is a lost image: refused, not passed over. */
        if (fstatat(dirfd(dir), entry->d_name, &s, 0) != 0)
            status = error_errno(e, "%s/%s", folder, entry->d_name);
        else if (kind == LIST_FOLDERS ? S_ISDIR(s.st_mode) : S_ISREG(s.st_mode))
            status = listing_add(l, entry->d_name, e);
    }
    closedir(dir);
    if (status != BLEMISH_OK)
        listing_close(l);
    else if (l->count)
        qsort(l->names, l->count, sizeof *l->names, compare_names);
    return status;
}

void listing_close(Listing *l) {
    for (size_t i = 0; i < l->count; i++) free(l->names[i]);
    free(l->names);
    *l = (Listing){0};
}
