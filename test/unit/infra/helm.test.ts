// The Helm chart: linted and rendered by helm for each values file, checked by kubeconform, and read as Homeostat's processes would.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { environmentsOf } from '../../../schemas/config.ts'
import { INFRA, infraTools } from '../../support/infra-tools.ts'
import { checkCommandLine, loadText } from '../../support/shipped.ts'

const tools = infraTools()
const CHART = join(INFRA, 'helm/homeostat')
const KUBERNETES = ['--kube-version', '1.34.3']
/** What a pod that may do nothing but its work says of itself (Pod Security Standards: restricted, and a read-only root besides). */
const POD_SECURITY = { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } }
const CONTAINER_SECURITY = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }
const ROLES = ['intake', 'detect', 'control', 'store', 'console']

interface Resource {
  kind: string
  metadata: { name: string; labels: Record<string, string>; annotations?: Record<string, string> }
  data?: Record<string, string>
  spec?: any
}
interface Pod {
  owner: Resource
  metadata: { labels: Record<string, string> }
  spec: any
}

const render = (...argv: string[]): string => tools!.helm('template', 'test', CHART, ...KUBERNETES, ...argv)
const resourcesOf = (yaml: string): Resource[] =>
  parseAllDocuments(yaml)
    .map(document => document.toJS() as Resource)
    .filter(resource => resource !== null)
const matches = (selector: Record<string, string>, labels: Record<string, string>): boolean =>
  Object.entries(selector).every(([name, value]) => labels[name] === value)

const files = readdirSync(join(INFRA, 'helm/values')).map(file => join(INFRA, 'helm/values', file))
const variants: [string, string[]][] = [['the defaults', []], ...files.map((file): [string, string[]] => [file.slice(file.lastIndexOf('/') + 1), ['-f', file]])]

describe.skipIf(tools === undefined).each(variants)('the chart with %s', (_, values) => {
  const yaml = tools === undefined ? '' : render(...values)
  const resources = resourcesOf(yaml)
  const of = (...kinds: string[]): Resource[] => resources.filter(({ kind }) => kinds.includes(kind))
  const named = (kind: string, name: string): Resource | undefined => of(kind).find(({ metadata }) => metadata.name === name)
  const pods: Pod[] = of('Deployment', 'StatefulSet', 'Job').map(owner => ({ owner, metadata: owner.spec.template.metadata, spec: owner.spec.template.spec }))
  const containers = pods.flatMap(pod => [...(pod.spec.initContainers ?? []), ...pod.spec.containers].map(container => ({ pod, container })))
  const deployed = pods.filter(({ owner }) => owner.kind !== 'Job')

  test('helm finds nothing to complain about', () => {
    expect(tools!.helm('lint', CHART, '--strict', '--quiet', ...KUBERNETES, ...values)).toBe('')
  })

  test('every resource is valid for Kubernetes 1.34, without an unknown property', () => {
    const { summary } = JSON.parse(tools!.kubeconform(yaml)) as { summary: Record<string, number> }
    expect(summary).toEqual({ valid: resources.length, invalid: 0, errors: 0, skipped: 0 })
  })

  test('every pod is unprivileged: not root, read-only, no capability, no API token unless asked for', () => {
    for (const { spec, owner } of pods) {
      expect(spec.securityContext, owner.metadata.name).toMatchObject(POD_SECURITY)
      expect(spec.enableServiceLinks, owner.metadata.name).toBe(false)
      const asked = values.some(file => file.includes('two-environments')) && owner.metadata.name.endsWith('act-staging')
      expect(spec.automountServiceAccountToken, owner.metadata.name).toBe(asked)
    }
    for (const { container, pod } of containers) expect(container.securityContext, pod.owner.metadata.name).toMatchObject(CONTAINER_SECURITY)
  })

  test('every container asks for its share, and what runs has probes on a port it names', () => {
    for (const { container } of containers) expect(container.resources.requests).toMatchObject({ cpu: expect.anything(), memory: expect.anything() })
    for (const { spec } of deployed) {
      const [container] = spec.containers
      for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
        expect(container.ports.map(({ name }: { name: string }) => name)).toContain(container[probe].httpGet.port)
      expect(container.readinessProbe.httpGet.path).toBe('/readyz')
      expect(container.livenessProbe.httpGet.path).toBe('/livez')
    }
  })

  test('every homeostat.yaml loads with the variables of its containers, and their command lines are ours', async () => {
    expect(containers.length).toBeGreaterThanOrEqual(8)
    for (const { pod, container } of containers) {
      const volume = pod.spec.volumes.find(({ name }: { name: string }) => name === 'config')
      const text = named('ConfigMap', volume.configMap.name)!.data!['homeostat.yaml']!
      const environment = Object.fromEntries((container.env as { name: string; value?: string }[]).map(({ name, value }) => [name, value ?? 'from-elsewhere']))
      const loaded = loadText(text, environment)
      // A name that comes back is kept over restarts; any other would leave its partitions waiting for a pod that is gone.
      expect(loaded.overrides.has('kafka.instance'), pod.owner.metadata.name).toBe(pod.owner.kind === 'StatefulSet')
      expect(loaded.config.log.kind).toBe('kafka')
      await checkCommandLine(container.args, loaded)
      // Ports in the configuration are the ports of the pod.
      const { intake, health, console } = loaded.config
      const listens: Record<string, number> = {
        'otlp-grpc': intake.grpc.port,
        'otlp-http': intake.http.port,
        health: health.listen.port,
        console: console.listen.port
      }
      for (const { name, containerPort } of container.ports ?? []) expect(containerPort, name).toBe(listens[name])
      for (const listen of [intake.grpc, intake.http, health.listen, console.listen]) expect(listen.host).toBe('0.0.0.0')
    }
  })

  test('every path in the configuration lies in a volume of the pod that reads it', () => {
    for (const { owner, spec } of deployed) {
      const text = named('ConfigMap', spec.volumes.find(({ name }: { name: string }) => name === 'config').configMap.name)!.data!['homeostat.yaml']!
      const { config } = loadText(text, { KAFKA_USERNAME: 'x' })
      const role: string = owner.metadata.labels['app.kubernetes.io/component']!.replace(/^act-.*/, 'act')
      const reads: Record<string, (string | undefined)[]> = {
        intake: [config.intake.tls?.certFile, config.intake.tls?.keyFile, ...config.intake.tokens],
        control: [config.decide.signingKeyFile, config.decide.policiesDir, config.decide.runbooksDir],
        act: config.act.verificationKeyFiles ?? [],
        console: config.console.tokens
      }
      const tls = config.kafka.tls
      const paths = [...(reads[role] ?? []), config.dataDir, tls?.caFile, tls?.certFile, tls?.keyFile].filter(path => path !== undefined)
      const mounts = (spec.containers[0].volumeMounts as { mountPath: string }[]).map(({ mountPath }) => mountPath)
      for (const path of paths)
        expect(
          mounts.some(mount => path.replace(/^file:/, '').startsWith(mount)),
          `${owner.metadata.name}: ${path}`
        ).toBe(true)
    }
  })

  test('names that resources call each other by exist', () => {
    for (const { owner, spec } of pods) {
      expect(named('ServiceAccount', spec.serviceAccountName), spec.serviceAccountName).toBeDefined()
      const volumes = [...spec.volumes, ...(owner.spec.volumeClaimTemplates ?? []).map((claim: Resource) => ({ name: claim.metadata.name }))]
      expect(new Set(volumes.map(({ name }: { name: string }) => name)).size).toBe(volumes.length)
      for (const volume of volumes) if (volume.configMap) expect(named('ConfigMap', volume.configMap.name), volume.configMap.name).toBeDefined()
      for (const container of [...(spec.initContainers ?? []), ...spec.containers])
        for (const mount of container.volumeMounts) expect(volumes.map(({ name }: { name: string }) => name)).toContain(mount.name)
      if (owner.kind === 'StatefulSet') expect(named('Service', owner.spec.serviceName)?.spec.clusterIP).toBe('None')
      if (owner.kind !== 'Job') expect(matches(owner.spec.selector.matchLabels, owner.spec.template.metadata.labels)).toBe(true)
    }
    for (const { metadata, spec } of of('Service', 'PodDisruptionBudget')) {
      const chosen = deployed.filter(pod => matches(spec.selector.matchLabels ?? spec.selector, pod.metadata.labels))
      expect(chosen, metadata.name).toHaveLength(1)
      for (const port of spec.ports ?? []) expect(chosen[0]!.spec.containers[0].ports.map(({ name }: { name: string }) => name)).toContain(port.targetPort)
    }
    for (const { spec } of of('HorizontalPodAutoscaler')) expect(named('Deployment', spec.scaleTargetRef.name)?.spec.replicas).toBeUndefined()
  })

  test('one account a role, and names short enough for the labels that Kubernetes makes of them', () => {
    const accounts = pods.map(({ spec }) => spec.serviceAccountName)
    expect(new Set(accounts).size).toBe(accounts.length)
    for (const { metadata, kind } of resources) expect(metadata.name.length, metadata.name).toBeLessThanOrEqual(kind === 'StatefulSet' ? 52 : 63)
  })

  test('every environment has one actuator with a volume of its own, and control knows it', () => {
    const actuators = of('StatefulSet').filter(({ metadata }) => metadata.name.includes('-act-'))
    const environments = actuators.map(({ metadata, spec }) => {
      expect(spec.volumeClaimTemplates).toHaveLength(1)
      return loadText(named('ConfigMap', metadata.name)!.data!['homeostat.yaml']!, { KAFKA_USERNAME: 'x' }).config.environment
    })
    const control = named(
      'ConfigMap',
      of('Deployment').find(({ metadata }) => metadata.name.endsWith('-control'))!.spec.template.spec.volumes[0].configMap.name
    )
    expect(environmentsOf(loadText(control!.data!['homeostat.yaml']!, { KAFKA_USERNAME: 'x' }).config).toSorted()).toEqual(environments.toSorted())
  })

  test('closed by default: each role has rules of its own, and only act, console, store and setup reach ClickHouse', () => {
    const policies = of('NetworkPolicy')
    if (values.some(file => file.includes('small'))) return expect(policies).toEqual([])
    const deny = policies.find(({ metadata }) => metadata.name.endsWith('-deny'))!
    expect(deny.spec).toMatchObject({ policyTypes: ['Ingress', 'Egress'] })
    expect(deny.spec.ingress ?? deny.spec.egress).toBeUndefined()
    for (const pod of pods) {
      expect(matches(deny.spec.podSelector.matchLabels, pod.metadata.labels)).toBe(true)
      const own = policies.filter(policy => policy !== deny && matches(policy.spec.podSelector.matchLabels, pod.metadata.labels))
      expect(own, pod.owner.metadata.name).toHaveLength(1)
      const ports = own[0]!.spec.egress.flatMap((rule: any) => rule.ports.map(({ port }: { port: number }) => port))
      const role = pod.owner.metadata.labels['app.kubernetes.io/component']!
      expect(
        ports.some((port: number) => [8123, 8443].includes(port)),
        role
      ).toBe(/^(act-|console|store|setup)/.test(role))
      expect(
        ports.some((port: number) => [9092, 9094].includes(port)),
        role
      ).toBe(true)
    }
  })

  test('every role runs', () => {
    const roles = deployed.map(({ spec }) => spec.containers[0].args[2])
    expect(new Set(roles)).toEqual(new Set([...ROLES.filter(role => role !== 'console'), 'console,train', 'act']))
  })
})

describe.skipIf(tools === undefined)('values', () => {
  test.each([
    ['an unknown key', 'kafka.brokerz=x', /brokerz/],
    ['TLS without its Secret', 'kafka.tls.enabled=true', /secretName/],
    ['SASL without its Secret', 'kafka.sasl.mechanism=plain', /secretName/],
    ['an environment too long for a name', 'actuators[0].environment=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', /environment/]
  ])('%s is refused', (_, assignment, complaint) => {
    expect(() => render('--set', assignment)).toThrow(complaint)
  })

  test('keys of homeostat.yaml are merged over what the chart writes', () => {
    const text = resourcesOf(render('--set', 'config.detect.warmupPoints=77', '--set', 'config.store.batchRowsMax=9')).find(
      ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'test-homeostat'
    )!.data!['homeostat.yaml']!
    const { config } = loadText(text, {})
    expect(config).toMatchObject({ detect: { warmupPoints: 77 }, store: { batchRowsMax: 9, url: 'http://clickhouse:8123' } })
  })
})
