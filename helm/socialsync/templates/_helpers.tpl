{{- /* Names and labels. Those that need more than the root take a dict with "root". */ -}}

{{- define "socialsync.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* Short enough for any suffix of ours. */ -}}
{{- define "socialsync.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "socialsync.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "socialsync.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "socialsync.releaseLabels" -}}
app.kubernetes.io/name: {{ include "socialsync.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* root, component */ -}}
{{- define "socialsync.selectorLabels" -}}
{{ include "socialsync.releaseLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* root, component */ -}}
{{- define "socialsync.labels" -}}
{{ include "socialsync.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /*
root, component; suffix where one component has several objects of a kind; annotations; owned: true for a hook's Job, which
Helm forgets when it has failed: it goes with the release all the same.
*/ -}}
{{- define "socialsync.metadata" -}}
name: {{ include "socialsync.fullname" .root }}-{{ .suffix | default .component }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "socialsync.labels" (pick . "root" "component") | nindent 2 }}
{{- with .annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .owned }}
{{- $owner := include "socialsync.fullname" .root }}
{{- with (lookup "v1" "ConfigMap" .root.Release.Namespace $owner).metadata }}
ownerReferences:
  - {apiVersion: v1, kind: ConfigMap, name: {{ $owner }}, uid: {{ .uid }}}
{{- end }}
{{- end }}
{{- end -}}

{{- /* root, component: whose image; image: what differs */ -}}
{{- define "socialsync.image" -}}
{{- $image := .root.Values.image -}}
{{- $own := .image | default dict -}}
{{- $path := compact (list $image.registry $image.repositoryPrefix .component) | join "/" -}}
{{- $repository := $own.repository | default $path -}}
{{- if $own.digest -}}
{{- printf "%s@%s" $repository $own.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($own.tag | default $image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "socialsync.gatewayImage" -}}
{{- include "socialsync.image" (dict "root" . "component" "gateway" "image" .Values.gateway.image) -}}
{{- end -}}

{{- define "socialsync.operatorImage" -}}
{{- include "socialsync.image" (dict "root" . "component" "operator" "image" .Values.operator.image) -}}
{{- end -}}

{{- /* root, queue */ -}}
{{- define "socialsync.queueImage" -}}
{{- include "socialsync.image" (dict "root" .root "component" .queue.service "image" .queue.image) -}}
{{- end -}}

{{- /* The queues that are not taken out, as an object. */ -}}
{{- define "socialsync.queues" -}}
{{- $queues := dict -}}
{{- range $name, $queue := .Values.queues -}}
{{- if not (and (hasKey $queue "enabled") (not $queue.enabled)) -}}
{{- $_ := set $queues $name (omit $queue "enabled") -}}
{{- end -}}
{{- end -}}
{{- toYaml $queues -}}
{{- end -}}

{{- /* root, component; pod: what differs from .Values.pods. Maps are merged, lists replaced. */ -}}
{{- define "socialsync.pods" -}}
{{- mergeOverwrite (deepCopy .root.Values.pods) (deepCopy (.pod | default dict)) | toYaml -}}
{{- end -}}
