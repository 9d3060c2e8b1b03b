// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * The init of the lab's network guest: eth0 is 192.0.2.2; it pings 192.0.2.1 with packets of several sizes, then sends
 * datagrams to its port 7 and compares what comes back. vh.packed=1 or 0 tells whether its rings have to be packed.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#define HERE	 "192.0.2.2"
#define THERE	 "192.0.2.1"
#define ROUNDS	 60
#define TRIES	 5
#define MAX_BODY 1472 /* of a datagram in one frame */

static void up(void)
{
	struct ifreq ifr = {.ifr_name = "eth0"};
	struct sockaddr_in a = {.sin_family = AF_INET};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, HERE, &a.sin_addr);
	memcpy(&ifr.ifr_addr, &a, sizeof(a));
	if (ioctl(s, SIOCSIFADDR, &ifr))
		fail("SIOCSIFADDR");
	inet_pton(AF_INET, "255.255.255.0", &a.sin_addr);
	memcpy(&ifr.ifr_netmask, &a, sizeof(a));
	if (ioctl(s, SIOCSIFNETMASK, &ifr))
		fail("SIOCSIFNETMASK");
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &ifr))
		fail("SIOCSIFFLAGS");
	close(s);
}

static int dial(int type, int protocol, uint16_t port)
{
	const struct timeval wait = {.tv_sec = 3};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int s = socket(AF_INET, type | SOCK_CLOEXEC, protocol);

	inet_pton(AF_INET, THERE, &a.sin_addr);
	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) ||
	    connect(s, (const struct sockaddr *)&a, sizeof(a)))
		fail("socket");
	return s;
}

static void body(uint8_t *p, size_t n, unsigned round)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((i + 1) * (round * 2 + 1) * 2654435761u >> 24);
}

static uint16_t checksum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* The answer to what was sent: the same bytes, at @skip in what comes. Others (of an earlier try) are passed over. */
static int answered(int s, const uint8_t *sent, size_t n, size_t skip, size_t from)
{
	uint8_t got[2048];
	ssize_t len;

	while ((len = recv(s, got, sizeof(got), 0)) >= 0)
		if ((size_t)len == skip + n && !memcmp(got + skip + from, sent + from, n - from))
			return 1;
	return 0;
}

static void exchange(const char *what, int s, const uint8_t *p, size_t n, size_t skip, size_t from)
{
	for (int i = 0; i < TRIES; i++)
		if (send(s, p, n, 0) == (ssize_t)n && answered(s, p, n, skip, from))
			return;
	errno = ETIMEDOUT;
	fail(what);
}

static size_t size_of(unsigned round)
{
	return round * (MAX_BODY - 16) / (ROUNDS - 1) + 16;
}

static void ping(void)
{
	int s = dial(SOCK_RAW, IPPROTO_ICMP, 0);
	uint8_t p[sizeof(struct icmphdr) + MAX_BODY];

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct icmphdr h = {.type = ICMP_ECHO,
				    .un.echo = {.id = htons(99), .sequence = htons((uint16_t)round)}};
		size_t n = size_of(round);

		memcpy(p, &h, sizeof(h));
		body(p + sizeof(h), n - sizeof(h), round);
		h.checksum = checksum(p, n);
		memcpy(p, &h, sizeof(h));
		/* A raw socket tells the IP header too; type and checksum of the answer are others. */
		exchange("ping", s, p, n, sizeof(struct iphdr), 4);
	}
	close(s);
}

static void udp(void)
{
	int s = dial(SOCK_DGRAM, 0, 7);
	uint8_t p[MAX_BODY];

	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t n = size_of(round);

		body(p, n, round + ROUNDS);
		exchange("udp", s, p, n, 0, 0);
	}
	close(s);
}

int main(void)
{
	char line[4096], word[32];

	begin(line, sizeof(line));
	check_packed("/sys/class/net/eth0/device/features", argument(line, "vh.packed=", word, sizeof(word)));
	up();
	ping();
	udp();
	printf("guest: %d pings and %d datagrams answered\n", ROUNDS, ROUNDS);
	end(GUEST_OK);
}
