/* Kubernetes YAML to containers: what kube.c (a container's options from its spec) and kube_run.c (the pod and its life) share. */
#ifndef TIERCE_CMD_TIERCE_PEOPLE_KUBE_H
#define TIERCE_CMD_TIERCE_PEOPLE_KUBE_H

#include "cmd/tierce/people/pod.h"
#include "cmd/tierce/people/yaml.h"

struct kube {
	struct cli *t;
	struct people *p;
	struct json *docs;             /* documents of the file */
	const struct json *spec, *meta; /* of the Pod, or of the Deployment's template */
	struct pod *pod;
	struct err *e;
	bool quiet;
};

int kube_oom(struct err *e);
/* Member is true; absent is false. */
bool kube_truth(const struct json *o, const char *key);
/* Scalars as text: YAML's numbers and truth values are meant as they were written (env values, labels). NULL: no scalar. */
const char *kube_text(struct kube *k, const struct json *j);
/* Document of the file by kind and (not NULL) name. */
const struct json *kube_doc(struct kube *k, const char *kind, const char *name);
int kube_push(struct kube *k, struct opt_list *l, const char *s) MUST_CHECK;
/* What a probe ("livenessProbe" ...) of the container runs inside it: a JSON array of words, or a line for its shell. NULL with an error. */
const char *kube_probe_command(struct kube *k, const struct json *c, const char *which);
int64_t kube_probe_number(struct kube *k, const struct json *p, const char *key, int64_t dflt);
/* New container of the pod, not started. */
int kube_container(struct kube *k, const struct json *c, bool init, struct pctr **ret) MUST_CHECK;

#endif
