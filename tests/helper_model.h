/* A folder that goes away, a small network with test values, and pictures. All of them fail the test on error. */
#ifndef BLEMISH_HELPER_MODEL_H
#define BLEMISH_HELPER_MODEL_H

#include "image/image.h"
#include "net/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define PATH_SIZE 512

/* Fails with the error's text unless status is BLEMISH_OK. */
#define assert_ok(call, text)                                                                                          \
    do {                                                                                                               \
        if ((call) != BLEMISH_OK) fail_msg("%s: %s", #call, text);                                                     \
    } while (0)

/* A fresh folder under $TMPDIR or /tmp, and its removal with everything in it. */
void folder_make(char folder[PATH_SIZE]);
void folder_remove(const char *folder);
/* folder/name; returns path. */
char *path_in(char path[PATH_SIZE], const char *folder, const char *name);
/* Entries of a folder other than . and .. */
size_t folder_count(const char *folder);

/* A resnet18 with a narrow segmentation head (64) and test values. */
void model_make(Model *model, size_t height, size_t width);
/* Quantises it, calibrated on one picture. */
void model_quantise(Model *model);
/* A picture of smooth noise; the same seed gives the same picture. */
void picture_make(BlemishImage *image, size_t width, size_t height, int channels, uint64_t seed);

#endif
