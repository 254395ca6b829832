{{- /*
Where each secret is. A container gets by name what it needs, and nothing else:

  {{ include "socialsync.secretEnv" (dict "root" . "names" (list "CELERY_BROKER_URL")) }}
*/ -}}

{{- define "socialsync.secretEnv" -}}
{{- $env := list -}}
{{- range .names -}}
{{- $ref := include "socialsync.secretKeyRef" (dict "root" $.root "name" .) | fromYaml -}}
{{- $env = append $env (dict "name" . "valueFrom" (dict "secretKeyRef" $ref)) -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{- /* root, name: of the environment variable */ -}}
{{- define "socialsync.secretKeyRef" -}}
{{- $values := .root.Values -}}
{{- $secret := $values.secrets.existingSecret | default (include "socialsync.fullname" .root) -}}
{{- $key := .name -}}
{{- if eq .name "CELERY_BROKER_URL" -}}
  {{- $external := $values.externalRedis -}}
  {{- if $values.redis.enabled -}}
    {{- $secret = include "socialsync.redisSecret" .root -}}
  {{- else if $external.existingSecret -}}
    {{- $secret = $external.existingSecret -}}
    {{- $key = $external.key -}}
  {{- else if $external.url -}}
    {{- $secret = include "socialsync.fullname" .root -}}
  {{- end -}}
{{- else if has .name (list "DATABASE_URL" "MIGRATION_DATABASE_URL") -}}
  {{- $external := $values.externalPostgresql -}}
  {{- $role := ternary $external $external.owner (eq .name "DATABASE_URL") -}}
  {{- if $values.postgresql.enabled -}}
    {{- $secret = include "socialsync.postgresqlSecret" .root -}}
  {{- else if $role.url -}}
    {{- $secret = include "socialsync.fullname" .root -}}
  {{- else if or $role.existingSecret $external.existingSecret -}}
    {{- $secret = $role.existingSecret | default $external.existingSecret -}}
    {{- $key = $role.key -}}
  {{- end -}}
{{- end -}}
name: {{ $secret }}
key: {{ $key }}
{{- if has .name (list "INSTAGRAM_APP_SECRET" "SUPABASE_JWT_SECRET" "SUPABASE_SERVICE_ROLE_KEY" "AI_API_KEY") }}
optional: true
{{- end }}
{{- end -}}

{{- /* The settings that are no secrets. */ -}}
{{- define "socialsync.config" -}}
{{- $config := dict -}}
{{- range $name, $value := .Values.config -}}
{{- with toString $value }}{{ $_ := set $config $name . }}{{ end -}}
{{- end -}}
{{- with include "socialsync.publicUrl" . }}{{ $_ := set $config "PUBLIC_URL" . }}{{ end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* Where the internet reaches the gateway; empty where nothing says. Meta takes nothing but HTTPS. */ -}}
{{- define "socialsync.publicUrl" -}}
{{- $route := .Values.gateway.httpRoute -}}
{{- $ingress := .Values.gateway.ingress -}}
{{- $hosts := concat (ternary $route.hostnames list $route.enabled) (ternary $ingress.hosts list $ingress.enabled) -}}
{{- if .Values.config.PUBLIC_URL -}}
{{- .Values.config.PUBLIC_URL | trimSuffix "/" -}}
{{- else if and $hosts (not (contains "*" (first $hosts))) -}}
https://{{ first $hosts }}
{{- end -}}
{{- end -}}

{{- define "socialsync.postgresqlSecret" -}}
{{- .Values.postgresql.existingSecret | default (printf "%s-postgresql" (include "socialsync.fullname" .)) -}}
{{- end -}}

{{- define "socialsync.redisSecret" -}}
{{- .Values.redis.existingSecret | default (printf "%s-redis" (include "socialsync.fullname" .)) -}}
{{- end -}}

{{- /* The URLs that are given by value, as an object. */ -}}
{{- define "socialsync.givenUrls" -}}
{{- $urls := dict -}}
{{- if not .Values.postgresql.enabled -}}
  {{- with .Values.externalPostgresql.url }}{{ $_ := set $urls "DATABASE_URL" . }}{{ end -}}
  {{- with .Values.externalPostgresql.owner.url }}{{ $_ := set $urls "MIGRATION_DATABASE_URL" . }}{{ end -}}
{{- end -}}
{{- if not .Values.redis.enabled -}}
  {{- with .Values.externalRedis.url }}{{ $_ := set $urls "CELERY_BROKER_URL" . }}{{ end -}}
{{- end -}}
{{- toYaml $urls -}}
{{- end -}}

{{- /* root, name: of a Secret. What the cluster has in it, in base64; empty where there is no cluster. */ -}}
{{- define "socialsync.stored" -}}
{{- (lookup "v1" "Secret" .root.Release.Namespace .name).data | default dict | toYaml -}}
{{- end -}}

{{- /* Says all that is missing at once. */ -}}
{{- define "socialsync.validate" -}}
{{- $values := .Values -}}
{{- $faults := list -}}
{{- $own := $values.secrets.existingSecret -}}
{{- if not (or $own $values.secrets.values.META_APP_SECRET) -}}
  {{- $faults = append $faults "secrets.values.META_APP_SECRET (or secrets.existingSecret): the app secret of your Meta app" -}}
{{- end -}}
{{- $postgresql := $values.externalPostgresql -}}
{{- $somewhere := or $values.postgresql.enabled $own $postgresql.existingSecret -}}
{{- if not (or $somewhere $postgresql.url) -}}
  {{- $faults = append $faults "externalPostgresql.url (or .existingSecret, or postgresql.enabled to try it out): the services' role" -}}
{{- end -}}
{{- if and $values.migrations.enabled (not (or $somewhere $postgresql.owner.url $postgresql.owner.existingSecret)) -}}
  {{- $faults = append $faults "externalPostgresql.owner.url (or .existingSecret): the database's owner, for the migrations" -}}
{{- end -}}
{{- $redis := $values.externalRedis -}}
{{- if not (or $values.redis.enabled $own $redis.url $redis.existingSecret) -}}
  {{- $faults = append $faults "externalRedis.url (or .existingSecret, or redis.enabled to try it out): the queues" -}}
{{- end -}}
{{- if and $values.postgresql.enabled (or $postgresql.url $postgresql.existingSecret $postgresql.owner.url $postgresql.owner.existingSecret) -}}
  {{- $faults = append $faults "externalPostgresql or postgresql.enabled: only one of them" -}}
{{- end -}}
{{- if and $values.redis.enabled (or $redis.url $redis.existingSecret) -}}
  {{- $faults = append $faults "externalRedis or redis.enabled: only one of them" -}}
{{- end -}}
{{- if and $values.gateway.httpRoute.enabled (not $values.gateway.httpRoute.parentRefs) -}}
  {{- $faults = append $faults "gateway.httpRoute.parentRefs: the Gateways to attach to" -}}
{{- end -}}
{{- if $faults -}}
{{- printf "values: give\n  - %s\n" (join "\n  - " $faults) | fail -}}
{{- end -}}
{{- end -}}
