/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl ls: every vhost and vDPA thing of this host, and who holds it. */
#include "vhctl.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_NODES   256
#define MAX_HOLDERS 512

struct holder {
	unsigned node;
	unsigned pid;
	char name[32];
};

struct node {
	char path[600];
	unsigned mode;
	bool usable; /* by this user */
};

struct host {
	const char *root; /* stands before /dev, /sys and /proc */
	size_t n_nodes, n_holders;
	struct node nodes[MAX_NODES];
	struct holder holders[MAX_HOLDERS];
};

static void add_node(struct host *h, const char *path)
{
	struct node *n = &h->nodes[h->n_nodes];
	char full[600];
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", h->root, path);
	if (h->n_nodes == MAX_NODES || lstat(full, &st) || S_ISDIR(st.st_mode))
		return;
	snprintf(n->path, sizeof(n->path), "%s", path);
	n->mode = st.st_mode & 07777;
	n->usable = !access(full, R_OK | W_OK);
	h->n_nodes++;
}

/* Where device files are, and what their names begin with. */
static const struct {
	const char *folder, *prefix;
} places[] = {{"/dev", "vhost-"}, {"/dev/vduse", ""}};

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static void find_nodes(struct host *h)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct dirent **names = NULL;
		char path[600];
		int n;

		snprintf(path, sizeof(path), "%s%s", h->root, places[i].folder);
		n = scandir(path, &names, NULL, by_name);
		for (int k = 0; k < n; k++) {
			const char *name = names[k]->d_name;

			if (name[0] != '.' && !strncmp(name, places[i].prefix, strlen(places[i].prefix))) {
				snprintf(path, sizeof(path), "%s/%s", places[i].folder, name);
				add_node(h, path);
			}
			free(names[k]);
		}
		free(names);
	}
}

static void read_name(const struct host *h, unsigned pid, char *out, size_t size)
{
	char path[600];
	FILE *f;

	snprintf(out, size, "?");
	snprintf(path, sizeof(path), "%s/proc/%u/comm", h->root, pid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(out, (int)size, f))
		out[strcspn(out, "\n")] = 0;
	fclose(f);
}

/* Links to files of this name: a container that sees the host's /proc reads the host's names there. */
static void look_at_fd(struct host *h, unsigned pid, const char *link)
{
	char to[300];
	ssize_t len = readlink(link, to, sizeof(to) - 1);

	if (len <= 0)
		return;
	to[len] = 0;
	for (unsigned i = 0; i < h->n_nodes; i++) {
		struct holder *held = &h->holders[h->n_holders];

		if (strcmp(to, h->nodes[i].path) || h->n_holders == MAX_HOLDERS)
			continue;
		if (h->n_holders && held[-1].pid == pid && held[-1].node == i)
			continue;
		*held = (struct holder){.node = i, .pid = pid};
		read_name(h, pid, held->name, sizeof(held->name));
		h->n_holders++;
	}
}

static void look_at_process(struct host *h, unsigned pid)
{
	char path[600], link[900];
	struct dirent *e;
	DIR *fds;

	snprintf(path, sizeof(path), "%s/proc/%u/fd", h->root, pid);
	fds = opendir(path);
	while (fds && (e = readdir(fds))) {
		snprintf(link, sizeof(link), "%s/%s", path, e->d_name);
		look_at_fd(h, pid, link);
	}
	if (fds)
		closedir(fds);
}

static void find_holders(struct host *h)
{
	char path[600];
	struct dirent *e;
	DIR *all;

	snprintf(path, sizeof(path), "%s/proc", h->root);
	all = opendir(path);
	while (all && (e = readdir(all)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			look_at_process(h, (unsigned)strtoul(e->d_name, NULL, 10));
	if (all)
		closedir(all);
}

/* What the library tells. Each list may be out of reach by itself: without a vdpa bus, or in another network namespace. */
static void print_places(struct vh_vdpa_mgmt *m)
{
	struct vh_vdpa_place p = {.size = sizeof(p)};
	int n = vh_vdpa_mgmt_list_places(m);

	for (int i = 0; i < n && !vh_vdpa_mgmt_get_place(m, (uint32_t)i, &p); i++)
		printf("device   %-24s %-12s %s%s%s %s\n", p.name, p.driver[0] ? p.driver : "no driver", p.parent_bus,
		       p.parent_bus[0] ? "/" : "", p.parent, p.path[0] ? p.path : p.virtio);
}

static void print_makers(struct vh_vdpa_mgmt *m)
{
	struct vh_vdpa_mgmtdev d = {.size = sizeof(d)};
	int n = vh_vdpa_mgmt_list_mgmtdevs(m);

	for (int i = 0; i < n && !vh_vdpa_mgmt_get_mgmtdev(m, (uint32_t)i, &d); i++) {
		printf("maker    %s%s%s ", d.bus, d.bus[0] ? "/" : "", d.name);
		vdpa_classes(d.classes, stdout);
		printf(", %u queues at most\n", d.max_vqs);
	}
	/* That there is no vDPA is no news of a host without it. */
	if (n < 0 && n != -ENOENT)
		say_vh(n, "management devices");
}

static void print_nodes(const struct host *h)
{
	for (unsigned i = 0; i < h->n_nodes; i++) {
		const struct node *n = &h->nodes[i];

		printf("node     %-24s %04o%s", n->path, n->mode, n->usable ? "" : ", not for this user");
		for (size_t k = 0; k < h->n_holders; k++)
			if (h->holders[k].node == i)
				printf(", held by %s (%u)", h->holders[k].name, h->holders[k].pid);
		printf("\n");
	}
}

static void json_nodes(struct json *j, const struct host *h)
{
	json_array(j, "nodes");
	for (unsigned i = 0; i < h->n_nodes; i++) {
		json_object(j, NULL);
		json_text(j, "path", h->nodes[i].path);
		json_u64(j, "mode", h->nodes[i].mode);
		json_bool(j, "usable", h->nodes[i].usable);
		json_array(j, "holders");
		for (size_t k = 0; k < h->n_holders; k++) {
			if (h->holders[k].node != i)
				continue;
			json_object(j, NULL);
			json_u64(j, "pid", h->holders[k].pid);
			json_text(j, "name", h->holders[k].name);
			json_close(j, '}');
		}
		json_close(j, ']');
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_vdpa(struct json *j, struct vh_vdpa_mgmt *m)
{
	struct vh_vdpa_mgmtdev d = {.size = sizeof(d)};
	struct vh_vdpa_place p = {.size = sizeof(p)};
	int n = vh_vdpa_mgmt_list_places(m);

	json_array(j, "devices");
	for (int i = 0; i < n && !vh_vdpa_mgmt_get_place(m, (uint32_t)i, &p); i++) {
		json_object(j, NULL);
		vdpa_place_json(j, &p);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_array(j, "makers");
	n = vh_vdpa_mgmt_list_mgmtdevs(m);
	for (int i = 0; i < n && !vh_vdpa_mgmt_get_mgmtdev(m, (uint32_t)i, &d); i++) {
		json_object(j, NULL);
		vdpa_maker_json(j, &d);
		json_close(j, '}');
	}
	json_close(j, ']');
	if (n < 0 && n != -ENOENT)
		say_vh(n, "management devices");
}

int cmd_ls(int argc, char **argv)
{
	static struct host h;
	struct vh_vdpa_mgmt *m = NULL;
	bool as_json = false;
	const struct opt opts[] = {{"json", OPT_FLAG, &as_json, 0, NULL}, {"root", OPT_TEXT, &h.root, 0, NULL}};
	struct json j;
	size_t n;
	int rc;

	h.root = "";
	rc = parse_options(argc, argv, opts, 2, NULL, 0, &n);
	if (rc)
		return rc;
	rc = vh_vdpa_mgmt_new(NULL, h.root, -1, &m);
	if (rc)
		return say_vh(rc, "vDPA");
	find_nodes(&h);
	find_holders(&h);
	if (as_json) {
		json_begin(&j, stdout);
		json_nodes(&j, &h);
		json_vdpa(&j, m);
		json_end(&j);
	} else {
		print_nodes(&h);
		print_places(m);
		print_makers(m);
	}
	vh_vdpa_mgmt_free(m);
	return EXIT_DONE;
}
