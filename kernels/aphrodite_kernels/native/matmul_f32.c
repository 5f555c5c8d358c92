/* Matmul with f32 weights; see matmul.h for the layout and the order of accumulation. */
#include "common.h"
#define WEIGHT float
#define VLOAD vload_f32
#define NAME matmul_f32
#include "matmul_body.h"
