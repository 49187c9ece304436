// The options of the Kafka clients as they come from the configuration.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { kafkaClientOptions } from '../../../../pipeline/log/kafka/client-options.ts'
import { type ConfigInput, configSchema } from '../../../../schemas/config.ts'
import type { AppError } from '../../../../schemas/errors.ts'
import { countingMeter, quietLogger } from '../../../support/log-tools.ts'

const folder = mkdtempSync(join(tmpdir(), 'homeostat-options-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const BROKERS = ['kafka-0.example:9092', 'kafka-1.example:9092']
const build = (kafka: ConfigInput['kafka'], { role = 'detect', dataDir = '.homeostat' } = {}) =>
  kafkaClientOptions(configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', dataDir, kafka: { brokers: BROKERS, ...kafka } }), {
    secret: reference => `resolved ${reference}`,
    role,
    logger: quietLogger,
    meter: countingMeter()
  })
const refusal = (kafka: ConfigInput['kafka']): AppError => {
  try {
    build(kafka)
  } catch (error) {
    return error as AppError
  }
  throw new Error('not refused')
}

describe('the options of the Kafka clients', () => {
  test('a plain cluster needs brokers only', () => {
    const options = build({})
    expect([options.brokers, options.compression, options.tls, options.sasl]).toEqual([BROKERS, 'none', undefined, undefined])
  })

  test('the password is resolved, and the certificates are read', () => {
    const caFile = join(folder, 'ca.pem')
    writeFileSync(caFile, 'a certificate')
    const options = build({ tls: { caFile }, sasl: { mechanism: 'scram-sha-256', username: 'u', password: 'env:P' } })
    expect(options.tls).toEqual({ ca: 'a certificate' })
    expect(options.sasl).toEqual({ mechanism: 'scram-sha-256', username: 'u', password: 'resolved env:P' })
  })

  test('TLS without files trusts the usual authorities', () => {
    expect(build({ tls: {} }).tls).toEqual({})
  })

  test('three heartbeats may be lost in a session, and a rebalance waits at least as long as one', () => {
    const options = build({ sessionTimeout: '40s' })
    expect([options.sessionTimeoutMs, options.heartbeatMs, options.rebalanceTimeoutMs]).toEqual([40_000, 10_000, 40_000])
  })

  test('an instance is named by host, role and data directory, the same after a restart', () => {
    const name = build({}).instance
    expect(name).toMatch(/^[A-Za-z0-9._-]{1,249}$/)
    expect(build({}).instance).toBe(name)
    expect(build({}, { role: 'store' }).instance).not.toBe(name)
    expect(build({}, { dataDir: 'elsewhere' }).instance).not.toBe(name)
    expect(build({}, { role: 'store+console (two)' }).instance).toMatch(/^[A-Za-z0-9._-]+$/)
    expect(build({ instance: 'detect-7' }).instance).toBe('detect-7')
  })

  test('no brokers, and a certificate that is not there, stop the start with the key to correct', () => {
    expect([refusal({ brokers: [] }).code, refusal({ brokers: [] }).message]).toEqual(['config_invalid', expect.stringContaining('kafka.brokers')])
    expect(refusal({ tls: { certFile: join(folder, 'none.pem') } }).message).toMatch(/kafka\.tls\.certFile: .*none\.pem/)
  })
})
