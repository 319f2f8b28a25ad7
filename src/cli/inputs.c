#include "inputs.h"

#include <dirent.h>
#include <glob.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static bool add(Inputs *inputs, const char *path, const char *problem) {
    if (inputs->count == inputs->capacity) {
        size_t capacity = inputs->capacity ? 2 * inputs->capacity : 64;
        Input *items = reallocarray(inputs->items, capacity, sizeof *items);
        if (!items) return false;
        inputs->items = items;
        inputs->capacity = capacity;
    }
    char *copy = strdup(path);
    if (copy) inputs->items[inputs->count++] = (Input){copy, problem};
    return copy;
}

static int is_image(const struct dirent *entry) {
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"};
    const char *dot = entry->d_name[0] == '.' ? NULL : strrchr(entry->d_name, '.'); // hidden: previews, half a copy
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++) {
        if (!strcasecmp(dot, suffixes[i])) return 1;
    }
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool add_folder(Inputs *inputs, const char *folder) {
    struct dirent **entries;
    int count = scandir(folder, &entries, is_image, by_name);
    if (count < 0) return add(inputs, folder, "the folder cannot be read");
    bool fine = true;
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        fine = fine && asprintf(&path, "%s%s%s", folder, slash, entries[i]->d_name) >= 0 && add(inputs, path, NULL);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return fine && (count || add(inputs, folder, "no .jpg, .jpeg, .png, .tif, .tiff or .bmp file in this folder"));
}

static bool add_path(Inputs *inputs, const char *path) {
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode) ? add_folder(inputs, path) : add(inputs, path, NULL);
}

bool inputs_add(Inputs *inputs, const char *word) {
    struct stat status;
    if (!lstat(word, &status) || !strpbrk(word, "*?[")) return add_path(inputs, word);
    glob_t found;
    int result = glob(word, 0, NULL, &found);
    bool fine = result != GLOB_NOSPACE;
    if (result) {
        fine = fine && add(inputs, word, "no file matches this pattern");
    } else {
        for (size_t i = 0; fine && i < found.gl_pathc; i++) fine = add_path(inputs, found.gl_pathv[i]);
    }
    globfree(&found);
    return fine;
}

void inputs_close(Inputs *inputs) {
    for (size_t i = 0; i < inputs->count; i++) free(inputs->items[i].path);
    free(inputs->items);
    *inputs = (Inputs){0};
}

static int by_text(const void *a, const void *b) {
    return strcmp(a, b);
}

const char *names_make(Names *names, const char *folder, const char *path, const char *ending) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    int stem = (int)(dot && dot > base ? (size_t)(dot - base) : strlen(base));
    for (size_t number = 1;; number++) {
        char *name, suffix[24] = "";
        if (number > 1) snprintf(suffix, sizeof suffix, "-%zu", number);
        if (asprintf(&name, "%s/%.*s%s%s", folder, stem, base, suffix, ending) < 0) return NULL;
        char *const *node = tsearch(name, &names->tree, by_text);
        if (node && *node == name) return name;
        free(name);
        if (!node) return NULL;
    }
}

void names_close(Names *names) {
    tdestroy(names->tree, free);
    names->tree = NULL;
}
