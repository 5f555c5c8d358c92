/* Matmul with f16 weights; see matmul.h for the layout and the order of accumulation. */
#include "common.h"
#define WEIGHT uint16_t
#define VLOAD vload_f16
#define NAME matmul_f16
#include "matmul_body.h"
