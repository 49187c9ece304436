{{/* Names stay below 25 characters: StatefulSets append the role, an environment and a revision, and labels hold 63. */}}
{{- define "homeostat.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 24 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 24 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 24 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Arguments: root, component. */}}
{{- define "homeostat.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "homeostat.labels" -}}
{{ include "homeostat.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: homeostat
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "homeostat.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* homeostat.yaml. Arguments: root, extra (merged last). What differs between roles comes by environment variables. */}}
{{- define "homeostat.config" -}}
{{- $values := .root.Values -}}
{{- $any := "0.0.0.0" -}}
{{- $kafka := dict "brokers" $values.kafka.brokers "client" $values.kafka.client "topics" $values.kafka.topics -}}
{{- if $values.kafka.tls.enabled -}}
{{- $tls := dict "caFile" "/etc/homeostat/kafka-tls/ca.crt" -}}
{{- if $values.kafka.tls.clientCertificate -}}
{{- $_ := merge $tls (dict "certFile" "/etc/homeostat/kafka-tls/tls.crt" "keyFile" "/etc/homeostat/kafka-tls/tls.key") -}}
{{- end -}}
{{- $_ := set $kafka "tls" $tls -}}
{{- end -}}
{{- if $values.kafka.sasl.mechanism -}}
{{- $_ := set $kafka "sasl" (dict "mechanism" $values.kafka.sasl.mechanism "username" "${KAFKA_USERNAME}" "password" "env:KAFKA_PASSWORD") -}}
{{- end -}}
{{- $store := dict "url" $values.clickhouse.url "database" $values.clickhouse.database "username" "${CLICKHOUSE_USERNAME:-default}" "migrate" false -}}
{{- if $values.clickhouse.secretName -}}
{{- $_ := set $store "password" "env:CLICKHOUSE_PASSWORD" -}}
{{- end -}}
{{- $intake := dict "grpc" (dict "host" $any "port" $values.intake.grpcPort) "http" (dict "host" $any "port" $values.intake.httpPort) -}}
{{- $_ := set $intake "topics" (dict "enabled" $values.intake.collectorTopics) -}}
{{- if $values.intake.tlsSecretName -}}
{{- $_ := set $intake "tls" (dict "certFile" "/etc/homeostat/intake-tls/tls.crt" "keyFile" "/etc/homeostat/intake-tls/tls.key") -}}
{{- end -}}
{{- $tokens := list -}}
{{- range $values.intake.tokensSecret.keys -}}
{{- $tokens = append $tokens (printf "file:/etc/homeostat/intake-tokens/%s" .) -}}
{{- end -}}
{{- $_ := set $intake "tokens" $tokens -}}
{{- $people := list -}}
{{- range $values.console.tokensSecret.keys -}}
{{- $people = append $people (printf "file:/etc/homeostat/console-tokens/%s" .) -}}
{{- end -}}
{{- $console := dict "listen" (dict "host" $any "port" $values.console.service.port) "tokens" $people -}}
{{- /* Own metrics do not go through a door with a certificate, whose CA a role does not know: then they are scraped instead. */ -}}
{{- $self := dict "endpoint" "off" -}}
{{- if not $values.intake.tlsSecretName -}}
{{- $self = dict "endpoint" (printf "http://%s-intake:%v" (include "homeostat.fullname" .root) $values.intake.grpcPort) -}}
{{- if $tokens -}}{{- $_ := set $self "token" "env:SELF_TOKEN" -}}{{- end -}}
{{- end -}}
{{- $environments := list -}}
{{- range $values.actuators -}}{{- $environments = append $environments .environment -}}{{- end -}}
{{- $decide := dict "signingKeyFile" "/etc/homeostat/signing/signing.pem" -}}
{{- if $values.policies -}}{{- $_ := set $decide "policiesDir" "/etc/homeostat/policies" -}}{{- end -}}
{{- if $values.runbooks -}}{{- $_ := set $decide "runbooksDir" "/etc/homeostat/runbooks" -}}{{- end -}}
{{- $verification := list -}}
{{- range $values.keys.verification.files -}}
{{- $verification = append $verification (printf "/etc/homeostat/verification/%s" .) -}}
{{- end -}}
{{- $config := dict
  "apiVersion" "homeostat.io/v1" "kind" "Homeostat" "dataDir" "/var/lib/homeostat" "environment" $values.environment "environments" ($environments | uniq)
  "log" (dict "kind" "kafka") "kafka" $kafka "store" $store "intake" $intake "console" $console "self" $self
  "health" (dict "listen" (dict "host" $any "port" $values.health.port)) "decide" $decide "act" (dict "verificationKeyFiles" $verification) -}}
{{- mergeOverwrite $config (deepCopy $values.config) (deepCopy (.extra | default dict)) | toYaml -}}
{{- end -}}

{{/*
Environment of every container. Arguments: root, principal (of Kafka), clickhouse (writer, reader, admin or empty), keepsName (a
StatefulSet's pod comes back under its name; a Deployment's does not, and leaves its groups at once instead).
*/}}
{{- define "homeostat.env" -}}
- name: HOMEOSTAT_CONFIG
  value: /etc/homeostat/homeostat.yaml
{{- if .keepsName }}
- name: HOMEOSTAT_KAFKA__INSTANCE # the member's name in its groups: while the pod restarts its partitions wait for it
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
{{- end }}
{{- if .root.Values.kafka.sasl.mechanism }}
- name: KAFKA_USERNAME
  value: {{ printf "%s%s" .root.Values.kafka.sasl.usernamePrefix .principal | quote }}
- name: KAFKA_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .root.Values.kafka.sasl.secretName | quote }}, key: {{ .principal | quote }} } }
{{- end }}
{{- if .clickhouse }}
- name: CLICKHOUSE_USERNAME
  value: {{ index .root.Values.clickhouse.users .clickhouse | quote }}
{{- if .root.Values.clickhouse.secretName }}
- name: CLICKHOUSE_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .root.Values.clickhouse.secretName | quote }}, key: {{ .clickhouse | quote }} } }
{{- end }}
{{- end }}
{{- if and .root.Values.intake.tokensSecret.keys (not .root.Values.intake.tlsSecretName) }}
- name: SELF_TOKEN
  valueFrom: { secretKeyRef: { name: {{ .root.Values.intake.tokensSecret.name | quote }}, key: {{ first .root.Values.intake.tokensSecret.keys | quote }} } }
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "homeostat.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "homeostat.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{/* Volumes and mounts of every pod. Argument: root, configMap. Modes are decimal: 288 is 0440. */}}
{{- define "homeostat.volumes" -}}
- name: config
  configMap: { name: {{ .configMap }} }
- name: tmp
  emptyDir: { sizeLimit: 256Mi }
{{- if .root.Values.kafka.tls.enabled }}
- name: kafka-tls
  secret: { secretName: {{ .root.Values.kafka.tls.secretName | quote }}, defaultMode: 288 }
{{- end }}
{{- end -}}

{{- define "homeostat.mounts" -}}
- { name: config, mountPath: /etc/homeostat/homeostat.yaml, subPath: homeostat.yaml, readOnly: true }
- { name: tmp, mountPath: /tmp }
- { name: data, mountPath: /var/lib/homeostat }
{{- if .root.Values.kafka.tls.enabled }}
- { name: kafka-tls, mountPath: /etc/homeostat/kafka-tls, readOnly: true }
{{- end }}
{{- end -}}

{{/*
The pod of a role. Arguments: root, component, serviceAccount, configMap, config (its text), roles (for --role), principal, clickhouse,
resources, ports (list of name and port), healthPort (name), and where a role needs more: env, volumes, mounts, automount, keepsName,
persistent, drainSeconds.
*/}}
{{- define "homeostat.pod" -}}
metadata:
  labels:
    {{- include "homeostat.labels" . | nindent 4 }}
    {{- with .root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ .config | sha256sum }} # a new configuration restarts the pods
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ .serviceAccount }}
  automountServiceAccountToken: {{ .automount | default false }}
  enableServiceLinks: false # no variables of other Services: HOMEOSTAT_… would be read as configuration
  terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "homeostat.podSecurity" . | nindent 4 }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "homeostat.selectorLabels" $ | nindent 10 }}
    {{- end }}
  containers:
    - name: homeostat
      image: {{ include "homeostat.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [start, --role, {{ .roles | quote }}]
      securityContext:
        {{- include "homeostat.containerSecurity" . | nindent 8 }}
      env:
        {{- include "homeostat.env" . | nindent 8 }}
        {{- with .env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- range .ports }}
        - { name: {{ .name }}, containerPort: {{ .port }}, protocol: TCP }
        {{- end }}
      startupProbe: # up to two minutes: a large checkpoint is restored first
        httpGet: { path: /livez, port: {{ .healthPort }} }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe: # it goes forward by itself, else it is restarted
        httpGet: { path: /livez, port: {{ .healthPort }} }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: { path: /readyz, port: {{ .healthPort }} }
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      {{- with .drainSeconds }}
      lifecycle: # senders learn that this pod goes before its doors close
        preStop: { sleep: { seconds: {{ . }} } }
      {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        {{- include "homeostat.mounts" . | nindent 8 }}
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "homeostat.volumes" . | nindent 4 }}
    {{- if not .persistent }}
    - name: data
      emptyDir: { sizeLimit: 1Gi }
    {{- end }}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Arguments: root, component, budget. */}}
{{- define "homeostat.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "homeostat.fullname" .root }}-{{ .component }}
  labels:
    {{- include "homeostat.labels" . | nindent 4 }}
spec:
  {{- toYaml .budget | nindent 2 }}
  selector:
    matchLabels:
      {{- include "homeostat.selectorLabels" . | nindent 6 }}
{{- end -}}
