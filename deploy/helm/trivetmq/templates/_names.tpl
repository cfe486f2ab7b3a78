{{- define "trivetmq.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "trivetmq.labels" -}}
app.kubernetes.io/name: trivetmq
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "trivetmq.ports" -}}
- { name: nameserver, port: 9876, targetPort: nameserver }
- { name: remoting, port: 10911, targetPort: remoting }
- { name: mqtt, port: 1883, targetPort: mqtt }
- { name: amqp, port: 5672, targetPort: amqp }
- { name: http, port: 9877, targetPort: http }
{{- end -}}
