/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Places that a debugger or tracer knows by name ("USDT"): a nop in the code, and a note in the file that says where it is
 * and where the arguments are at that moment. bpftrace, perf, SystemTap and gdb read such notes. Nobody looks: a nop.
 *
 *	VHI_PROBE2(name, a, b)
 *
 * Arguments are integers of 64 bits. On machines that are not listed here there are no probes. The list of probes with
 * their arguments is in docs/metrics.md, and a test compares. None stands in pop, push, submit or reap: these are exported
 * functions, which can be probed as such.
 */
#ifndef VHI_PROBE_H
#define VHI_PROBE_H

#include <stdint.h>

#if defined(__ELF__) && defined(__LP64__) &&                                                      \
	(defined(__x86_64__) || defined(__aarch64__) || defined(__s390x__) || defined(__riscv) || \
	 defined(__powerpc64__))

/*
 * The note: lengths of owner, description and type 3; then the place, the base by which who moves the file's sections
 * corrects it, a semaphore that we don't have, and provider, name and arguments as text.
 */
#define VHI_PROBE_NOTE(name, args)                                               \
	"990:	nop\n"                                                             \
	"	.pushsection .note.stapsdt,\"?\",\"note\"\n"                           \
	"	.balign 4\n"                                                           \
	"	.4byte 992f-991f, 994f-993f, 3\n"                                      \
	"991:	.asciz \"stapsdt\"\n"                                              \
	"992:	.balign 4\n"                                                       \
	"993:	.8byte 990b\n"                                                     \
	"	.8byte _.stapsdt.base\n"                                               \
	"	.8byte 0\n"                                                            \
	"	.asciz \"libvh\"\n"                                                    \
	"	.asciz \"" #name "\"\n"                                          \
	"	.asciz \"" args "\"\n"                                           \
	"994:	.balign 4\n"                                                       \
	"	.popsection\n"                                                         \
	"	.ifndef _.stapsdt.base\n"                                              \
	"	.pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
	"	.weak _.stapsdt.base\n"                                                \
	"	.hidden _.stapsdt.base\n"                                              \
	"_.stapsdt.base: .space 1\n"                                             \
	"	.size _.stapsdt.base, 1\n"                                             \
	"	.popsection\n"                                                         \
	"	.endif\n"

/* A constant, a place in memory or a register: whatever it is already. */
#define VHI_PROBE_ARG(x) "nor"((uint64_t)(x))

#define VHI_PROBE1(name, a)    __asm__ volatile(VHI_PROBE_NOTE(name, "8@%0")::VHI_PROBE_ARG(a))
#define VHI_PROBE2(name, a, b) __asm__ volatile(VHI_PROBE_NOTE(name, "8@%0 8@%1")::VHI_PROBE_ARG(a), VHI_PROBE_ARG(b))
#define VHI_PROBE3(name, a, b, c) \
	__asm__ volatile(VHI_PROBE_NOTE(name, "8@%0 8@%1 8@%2")::VHI_PROBE_ARG(a), VHI_PROBE_ARG(b), VHI_PROBE_ARG(c))
#define VHI_PROBE4(name, a, b, c, d)                                                                      \
	__asm__ volatile(VHI_PROBE_NOTE(name, "8@%0 8@%1 8@%2 8@%3")::VHI_PROBE_ARG(a), VHI_PROBE_ARG(b), \
			 VHI_PROBE_ARG(c), VHI_PROBE_ARG(d))
#define VHI_PROBE5(name, a, b, c, d, e)                                                                        \
	__asm__ volatile(VHI_PROBE_NOTE(name, "8@%0 8@%1 8@%2 8@%3 8@%4")::VHI_PROBE_ARG(a), VHI_PROBE_ARG(b), \
			 VHI_PROBE_ARG(c), VHI_PROBE_ARG(d), VHI_PROBE_ARG(e))
#else
#define VHI_PROBE1(name, a)		((void)(a))
#define VHI_PROBE2(name, a, b)		((void)(a), (void)(b))
#define VHI_PROBE3(name, a, b, c)	((void)(a), (void)(b), (void)(c))
#define VHI_PROBE4(name, a, b, c, d)	((void)(a), (void)(b), (void)(c), (void)(d))
#define VHI_PROBE5(name, a, b, c, d, e) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e))
#endif

#endif
