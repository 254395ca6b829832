{{- /* Parts of pod templates. Most take a dict: root, component, and pod, which is what differs from .Values.pods. */ -}}

{{- /* Labels and annotations; a changed setting starts new pods. */ -}}
{{- define "socialsync.podMetadata" -}}
{{- $pods := include "socialsync.pods" . | fromYaml -}}
labels:
  {{- include "socialsync.selectorLabels" . | nindent 2 }}
  {{- with $pods.labels }}{{ toYaml . | nindent 2 }}{{ end }}
annotations:
  {{- include "socialsync.checksums" .root | nindent 2 }}
  {{- with $pods.annotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}

{{- define "socialsync.checksums" -}}
checksum/config: {{ include "socialsync.config" . | sha256sum | trunc 16 }}
checksum/secrets: {{ list .Values.secrets (include "socialsync.givenUrls" .) | toJson | sha256sum | trunc 16 }}
{{- end -}}

{{- /* What pod specs have in common, but for containers, volumes and the service account. */ -}}
{{- define "socialsync.podSpec" -}}
{{- $pods := include "socialsync.pods" . | fromYaml -}}
enableServiceLinks: false
securityContext: {{- toYaml $pods.securityContext | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pods.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $pods.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pods.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pods.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* For pods of which there is more than one. */ -}}
{{- define "socialsync.spread" -}}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "socialsync.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end -}}

{{- /* What containers have in common; image is the whole name. */ -}}
{{- define "socialsync.container" -}}
{{- $pods := include "socialsync.pods" . | fromYaml -}}
image: {{ .image }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{- toYaml $pods.containerSecurityContext | nindent 2 }}
volumeMounts: {{- include "socialsync.volumeMounts" . | nindent 2 }}
{{- end -}}

{{- define "socialsync.volumeMounts" -}}
{{- $pods := include "socialsync.pods" . | fromYaml -}}
- name: tmp
  mountPath: /tmp
{{- with $pods.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* tmp: how much room there is in /tmp */ -}}
{{- define "socialsync.volumes" -}}
{{- $pods := include "socialsync.pods" . | fromYaml -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .tmp | default "1Gi" }}}
{{- with $pods.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The settings that are no secrets. */ -}}
{{- define "socialsync.envFrom" -}}
- configMapRef:
    name: {{ include "socialsync.fullname" . }}
{{- end -}}

{{- /* Of what runs for long. names: of secrets; then the pod's place, for telemetry as well, and the user's own. */ -}}
{{- define "socialsync.env" -}}
{{- /* a worker's POD_NAME comes from the operator, and too late to be referred to */ -}}
{{- $podName := ternary "K8S_POD_NAME" "POD_NAME" (eq .component "worker") -}}
{{- include "socialsync.secretEnv" (pick . "root" "names") }}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: {{ $podName }}
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- if ne .component "worker" }}
- name: OTEL_SERVICE_NAME
  value: socialsync-{{ .component }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ list
      (printf "service.version=%s" .root.Chart.AppVersion)
      "k8s.namespace.name=$(POD_NAMESPACE)"
      (printf "k8s.pod.name=$(%s)" $podName)
      "k8s.pod.uid=$(POD_UID)"
      "k8s.node.name=$(NODE_NAME)"
    | join "," }}
{{- include "socialsync.ownEnv" . }}
{{- end -}}

{{- /* Of a Job that talks to Kubernetes. */ -}}
{{- define "socialsync.jobEnv" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- include "socialsync.ownEnv" . }}
{{- end -}}

{{- define "socialsync.ownEnv" -}}
{{- with (include "socialsync.pods" . | fromYaml).env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* waitFor: some of postgres, schema, redis; image. Says in its log what it waits for. */ -}}
{{- define "socialsync.wait" -}}
{{- $names := list -}}
{{- if has "postgres" .waitFor }}{{ $names = append $names "DATABASE_URL" }}{{ end -}}
{{- if has "redis" .waitFor }}{{ $names = append $names "CELERY_BROKER_URL" }}{{ end -}}
- name: wait
  {{- include "socialsync.container" . | nindent 2 }}
  command: [python, -m, socialsync_common.wait]
  args: {{ .waitFor | toJson }}
  env:
    {{- include "socialsync.secretEnv" (dict "root" .root "names" $names) | nindent 4 }}
    {{- include "socialsync.ownEnv" . | indent 4 }}
  resources: {{- include "socialsync.smallResources" . | nindent 4 }}
{{- end -}}

{{- /* Of steps that do next to nothing. */ -}}
{{- define "socialsync.smallResources" -}}
requests: {cpu: 10m, memory: 64Mi}
limits: {memory: 256Mi}
{{- end -}}

{{- /* path, port */ -}}
{{- define "socialsync.probe" -}}
httpGet: {path: {{ .path }}, port: {{ .port }}}
timeoutSeconds: 3
{{- end -}}
