local params = import 'params.libsonnet';

function(greeting='hello') [
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: params.name },
    data: { greeting: greeting, region: std.extVar('region'), size: std.toString(std.extVar('size') + 1) },
  },
]
