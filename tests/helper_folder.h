/* A folder for all tests of a program, or a fresh one for each: open_folder and close_folder are cmocka's set-up and
 * tear-down of the group or of a test. */
#ifndef HELPER_FOLDER_H
#define HELPER_FOLDER_H

#include "helper_model.h"

static char folder[PATH_SIZE];

static int open_folder(void **state) {
    (void)state;
    folder_make(folder);
    return 0;
}

static int close_folder(void **state) {
    (void)state;
    folder_remove(folder);
    return 0;
}

#endif
