/* Features of the training images, computed once by the frozen backbone and kept: bfloat16, in memory up to a limit,
 * beyond it in an unlinked file that is mapped. A flip is an entry of its own, because the features of a flipped image
 * are not the flipped features. Where the ways to show an image are endless, entries are renewed instead. */
#ifndef BLEMISH_FEATURES_H
#define BLEMISH_FEATURES_H

#include "net/net.h"
#include "train/augment.h"

typedef struct FeatureSource {
    const char *path;
    Augmentation view;
    Tile tile;
} FeatureSource;

typedef struct Features {
    size_t count, in_memory; /* entries; how many of them lie in `memory` */
    size_t size2, size3;     /* floats of f2 and f3 of an entry */
    uint16_t *memory, *mapped;
    size_t mapped_bytes;
    const Engine *engine; /* whose profile counts */
    Element type;         /* of what the backbone computes in: ELEMENT_F32 or ELEMENT_BF16 */
    size_t height, width; /* of the backbone's input */
    Backbone *backbone;   /* open while entries are computed, as what follows is */
    BlemishImage image;   /* the last one decoded: many sources in a row may be of one */
    const char *path;     /* its file */
    uint8_t *scratch;     /* (height, width, 3): a tile that reaches beyond its image; NULL until there is a tile */
} Features;

typedef struct FeatureSettings {
    size_t cache_mb;
    const char *cache_dir; /* NULL: $TMPDIR or /tmp */
    BlemishProgressFn progress;
    void *progress_user;
    bool bf16; /* the backbone computes in bfloat16; needs engine_has_bf16 */
} FeatureSettings;

/* Decodes every source, images side by side, and runs the backbone. BLEMISH_ERROR_INTERRUPTED when progress asks to
 * stop. */
BlemishStatus features_open(Features *f, Engine *engine, const Trunk *trunk, const Geometry *g,
                            const FeatureSource *sources, size_t count, const FeatureSettings *settings, Error *e);
/* `count` empty entries in memory, for features_renew. */
BlemishStatus features_open_empty(Features *f, Engine *engine, const Trunk *trunk, const Geometry *g, size_t count,
                                  bool bf16, Error *e);
/* Computes entries 0 to count - 1 anew: the same bits as features_open's of these sources. */
BlemishStatus features_renew(Features *f, const FeatureSource *sources, size_t count, Error *e);
void features_close(Features *f);
/* Entry i as floats times `scale` into f2 and f3. */
void features_get(const Features *f, size_t i, float scale, float *f2, float *f3);
/* Mean over all channels (of layer2 and layer3) of the standard deviation of a channel over the first `count`
 * entries' pixels. */
BlemishStatus features_deviation(const Features *f, size_t count, const Geometry *g, double *out, Error *e);

#endif
