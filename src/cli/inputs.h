/* Which images a command line names, and what files made from them are called. */
#ifndef BLEMISH_CLI_INPUTS_H
#define BLEMISH_CLI_INPUTS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Input {
    char *path;
    const char *problem; /* why it cannot be an image; NULL when it may be one */
} Input;

typedef struct Inputs {
    Input *items;
    size_t count, capacity;
} Inputs;

/* Adds what a word of the command line stands for: a file; the images of a folder (by suffix, not of its subfolders)
 * sorted by name, hidden ones left out; or, where nothing has that name, the matches of it as a pattern. False when
 * memory is short. */
bool inputs_add(Inputs *inputs, const char *word);
void inputs_close(Inputs *inputs);

/* Names given so far in one folder (a tsearch tree). */
typedef struct Names {
    void *tree;
} Names;
/* "FOLDER/STEM<ending>" for an input path, or "FOLDER/STEM-2<ending>" and so on when that name was given before.
 * Owned by `names`; NULL when memory is short. */
const char *names_make(Names *names, const char *folder, const char *path, const char *ending);
void names_close(Names *names);

#endif
