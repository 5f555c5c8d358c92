/* Matmul with int8 weights, one scale an output; see matmul.h for the layout and the order of accumulation. */
#include "common.h"
#define WEIGHT int8_t
#define VLOAD vload_i8
#define NAME matmul_i8
#include "matmul_body.h"
