{{- /*
A ServiceAccount, a Role and their binding, all named as the component.
root, component, rules; hook: annotations for those that live as long as a hook; cluster: true for a ClusterRole.
*/ -}}
{{- define "socialsync.rbac" -}}
{{- $metadata := dict "root" .root "component" .component "annotations" .hook -}}
{{- $prefix := ternary "Cluster" "" (.cluster | default false) -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "socialsync.metadata" $metadata | nindent 2 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
metadata: {{- include "socialsync.metadata" $metadata | nindent 2 }}
rules: {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
metadata: {{- include "socialsync.metadata" $metadata | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $prefix }}Role
  name: {{ include "socialsync.fullname" .root }}-{{ .component }}
subjects:
  - kind: ServiceAccount
    name: {{ include "socialsync.fullname" .root }}-{{ .component }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{- /* A PodDisruptionBudget. root, component, budget */ -}}
{{- define "socialsync.podDisruptionBudget" -}}
{{- if .budget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "socialsync.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .budget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "socialsync.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end -}}
