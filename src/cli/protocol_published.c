/* Means of five runs, last epoch, WideResNet50. ICPR: B. Rolih, M. Fucka, D. Skocaj, "SuperSimpleNet" (ICPR 2024,
 * arXiv 2408.03143), by category as published with its code; JIMS: the same, "No Label Left Behind" (2025, arXiv
 * 2508.19060). */
#include "protocol.h"

#include <math.h>

#define ICPR(set, category, ...)                                                                                       \
    {                                                                                                                  \
        set, category, "all", "published, ICPR 2024", {                                                                \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }
#define JIMS(set, category, masks, i_auroc)                                                                            \
    {                                                                                                                  \
        set, category, masks, "published, JIMS 2025", {                                                                \
            i_auroc, NAN, NAN, NAN, NAN                                                                                \
        }                                                                                                              \
    }

static const Published published[] = {
    /* I-AUROC, AP-det, P-AUROC, AUPRO, seg-I-AUROC */
    ICPR("mvtec", "bottle", 100.0, 100.0, 97.8, 90.4, 100.0),
    ICPR("mvtec", "cable", 98.1, 99.0, 97.2, 88.5, 98.4),
    ICPR("mvtec", "capsule", 98.7, 99.7, 98.7, 92.3, 98.8),
    ICPR("mvtec", "carpet", 98.4, 99.6, 98.1, 92.3, 99.0),
    ICPR("mvtec", "grid", 99.3, 99.8, 98.0, 93.1, 99.6),
    ICPR("mvtec", "hazelnut", 99.8, 99.9, 98.1, 94.5, 100.0),
    ICPR("mvtec", "leather", 100.0, 100.0, 98.9, 96.9, 100.0),
    ICPR("mvtec", "metal_nut", 99.5, 99.9, 98.4, 90.9, 99.8),
    ICPR("mvtec", "pill", 98.1, 99.7, 98.6, 94.2, 98.1),
    ICPR("mvtec", "screw", 92.9, 97.3, 99.1, 95.3, 94.7),
    ICPR("mvtec", "tile", 99.7, 99.9, 95.3, 84.2, 100.0),
    ICPR("mvtec", "toothbrush", 92.2, 96.5, 98.4, 85.1, 91.8),
    ICPR("mvtec", "transistor", 99.9, 99.9, 95.6, 91.5, 99.6),
    ICPR("mvtec", "wood", 99.3, 99.8, 92.6, 84.7, 98.8),
    ICPR("mvtec", "zipper", 99.6, 99.9, 98.2, 93.1, 99.2),
    ICPR("mvtec", "mean", 98.4, 99.4, 97.5, 91.1, 98.5),
    JIMS("mvtec", "mean", "all", 98.3),
    ICPR("visa", "candle", 97.1, 97.2, 98.5, 93.6, 96.5),
    ICPR("visa", "capsules", 81.5, 89.7, 98.1, 80.1, 81.2),
    ICPR("visa", "cashew", 93.0, 96.9, 99.1, 86.3, 94.0),
    ICPR("visa", "chewinggum", 99.3, 99.7, 98.8, 87.7, 99.5),
    ICPR("visa", "fryum", 96.8, 98.5, 95.5, 79.3, 95.7),
    ICPR("visa", "macaroni1", 93.1, 93.1, 99.4, 95.9, 94.8),
    ICPR("visa", "macaroni2", 75.0, 77.5, 97.0, 89.7, 79.4),
    ICPR("visa", "pcb1", 96.9, 96.9, 99.6, 92.9, 97.2),
    ICPR("visa", "pcb2", 97.5, 97.3, 98.3, 85.4, 96.2),
    ICPR("visa", "pcb3", 94.4, 94.7, 98.5, 83.0, 95.2),
    ICPR("visa", "pcb4", 98.4, 98.3, 98.2, 87.3, 98.6),
    ICPR("visa", "pipe_fryum", 97.6, 98.9, 99.2, 88.0, 98.6),
    ICPR("visa", "mean", 93.4, 94.9, 98.3, 87.4, 93.9),
    ICPR("ksdd2", "", 99.5, 97.4, 99.2, 98.1, 98.4),
    ICPR("sensum", "capsule", 97.5, 92.8, 99.3, 94.0, 91.3),
    ICPR("sensum", "softgel", 98.0, 96.5, 98.5, 92.1, 92.8),
    ICPR("sensum", "mean", 97.8, 94.7, 98.9, 93.0, 92.0),
    JIMS("sensum", "mean", "all", 98.0),
    JIMS("sensum", "mean", "0 %", 97.4),
};

const Published *protocol_published(size_t index) {
    return index < sizeof published / sizeof *published ? &published[index] : NULL;
}
