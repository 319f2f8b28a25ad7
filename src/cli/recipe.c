/* Recipes on the command line: files and shipped names, then single keys. */
#include "cli.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDERS = 2 };

/* Where shipped recipes lie: beside the installed command, then in the source tree. */
static const char *recipe_folder(size_t index, char path[PATH_SIZE]) {
    if (index == 1) {
        snprintf(path, PATH_SIZE, "%s/recipes", BLEMISH_SOURCE_DIR);
        return path;
    }
    static const char share[] = "/../share/blemish/recipes";
    ssize_t length = readlink("/proc/self/exe", path, PATH_SIZE - sizeof share);
    path[length > 0 ? length : 0] = 0;
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash : path, share);
    return path;
}

static bool is_file(const char *path) {
    struct stat s;
    return !stat(path, &s) && !S_ISDIR(s.st_mode);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void recipe_names_close(RecipeNames *names) {
    for (size_t i = 0; i < names->count; i++) free(names->items[i]);
    *names = (RecipeNames){0};
}

bool recipe_names(const char *subfolder, RecipeNames *names) {
    *names = (RecipeNames){0};
    for (size_t i = 0; i < FOLDERS && !names->count; i++) {
        char path[PATH_SIZE], inner[PATH_SIZE + 64];
        snprintf(inner, sizeof inner, "%s/%s", recipe_folder(i, path), subfolder);
        DIR *folder = opendir(inner);
        for (struct dirent *entry; folder && (entry = readdir(folder)) && names->count < RECIPE_NAMES_MAX;) {
            const char *dot = strrchr(entry->d_name, '.');
            if (!dot || strcmp(dot, ".yaml")) continue;
            char *name = strndup(entry->d_name, (size_t)(dot - entry->d_name));
            if (name) names->items[names->count++] = name;
        }
        if (folder) closedir(folder);
    }
    if (names->count) qsort(names->items, names->count, sizeof *names->items, by_name);
    return names->count > 0;
}

static const char *name_at(const void *user, size_t index) {
    const RecipeNames *names = user;
    return index < names->count ? names->items[index] : NULL;
}

/* The file that a word names: itself, or a shipped recipe. */
static bool find_recipe(const char *word, char path[PATH_SIZE]) {
    if (strlen(word) >= PATH_SIZE / 2) return false;
    snprintf(path, PATH_SIZE, "%s", word);
    if (is_file(path)) return true;
    for (size_t i = 0; i < FOLDERS; i++) {
        char folder[PATH_SIZE];
        int length = snprintf(path, PATH_SIZE, "%.2000s/%.2000s.yaml", recipe_folder(i, folder), word);
        if (length < PATH_SIZE && is_file(path)) return true;
    }
    return false;
}

int recipe_load(BlemishRecipe *recipe, const char *word) {
    char path[PATH_SIZE];
    if (find_recipe(word, path))
        return blemish_recipe_load(recipe, path) ? fail("%s", blemish_recipe_error(recipe)) : EXIT_OK;
    RecipeNames names;
    recipe_names(".", &names);
    const char *nearest = nearest_word(word, name_at, &names);
    int code = nearest ? fail("recipe %s: found neither a file nor a shipped recipe, did you mean %s?", word, nearest)
                       : fail("recipe %s: found neither a file nor a shipped recipe of that name", word);
    recipe_names_close(&names);
    return code;
}

int recipe_set_pair(BlemishRecipe *recipe, const Command *command, const char *pair) {
    char key[64];
    const char *equals = strchr(pair, '=');
    size_t length = equals ? (size_t)(equals - pair) : 0;
    if (!length || length >= sizeof key) return wrong_usage(command, "--set: found '%s', expected KEY=VALUE", pair);
    memcpy(key, pair, length);
    key[length] = 0;
    if (!blemish_recipe_set(recipe, key, equals + 1)) return EXIT_OK;
    return wrong_usage(command, "--set %s: %s", pair, blemish_recipe_error(recipe));
}

int recipe_change(BlemishRecipe *recipe, const Command *command, const OptionList *files, const OptionList *pairs) {
    int code = EXIT_OK;
    for (size_t i = 0; !code && i < files->count; i++) code = recipe_load(recipe, files->items[i]);
    for (size_t i = 0; !code && i < pairs->count; i++) code = recipe_set_pair(recipe, command, pairs->items[i]);
    return code;
}

int recipe_open(BlemishRecipe **recipe, const Command *command, const OptionList *files, const OptionList *pairs) {
    if (blemish_recipe_new(recipe)) return fail("memory is short");
    return recipe_change(*recipe, command, files, pairs);
}

void recipe_value(const BlemishRecipe *recipe, const char *name, char value[64]) {
    const char *key, *help;
    for (size_t i = 0; blemish_recipe_key(recipe, i, &key, value, &help); i++) {
        if (!strcmp(key, name)) return;
    }
    value[0] = 0;
}

void recipe_list_keys(void (*item)(FILE *out, const char *term, const char *help), FILE *out) {
    BlemishRecipe *recipe;
    const char *key, *help;
    char value[64], text[512];
    if (!blemish_recipe_new(&recipe)) {
        for (size_t i = 0; blemish_recipe_key(recipe, i, &key, value, &help); i++) {
            snprintf(text, sizeof text, "%s (default: %s)", help, value);
            item(out, key, text);
        }
    }
    blemish_recipe_close(recipe);
}
