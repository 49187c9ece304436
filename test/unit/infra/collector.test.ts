// The Collector configurations that users copy: valid for a real Collector, and made so that an outage loses nothing.

import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { exampleConfig, requireCollector, validateConfig } from '../../support/collector.ts'

const binary = requireCollector()
const folder = fileURLToPath(new URL('../../../infra/collector/', import.meta.url))
const names = readdirSync(folder)
  .filter(file => /^(agent|gateway)-.*\.yaml$/.test(file))
  .map(file => file.slice(0, -'.yaml'.length))

test('there is an agent and a gateway for each of the three doors', () => {
  expect(names.toSorted()).toEqual(['agent-grpc', 'agent-http', 'agent-kafka', 'gateway-grpc', 'gateway-http', 'gateway-kafka'])
})

describe.each(names)('%s.yaml', name => {
  const config = parse(readFileSync(exampleConfig(name), 'utf8')) as {
    receivers: Record<string, Record<string, any>>
    exporters: Record<string, Record<string, any>>
    extensions: Record<string, unknown>
    service: { extensions: string[]; pipelines: Record<string, { receivers: string[]; processors: string[]; exporters: string[] }> }
  }

  test.skipIf(binary === undefined)('a real Collector takes it as it stands', () => {
    expect(() => validateConfig(binary!, exampleConfig(name))).not.toThrow()
  })

  test('all three signals go through the memory limiter, and none through a processor that holds data in memory only', () => {
    expect(Object.keys(config.service.pipelines).toSorted()).toEqual(['logs', 'metrics', 'traces'])
    for (const { processors } of Object.values(config.service.pipelines)) {
      expect(processors[0]).toBe('memory_limiter')
      expect(processors).not.toContain('batch')
    }
  })

  test('every exporter tries without end, from a queue on disk that makes senders wait when it is full', () => {
    for (const [id, exporter] of Object.entries(config.exporters)) {
      expect(exporter.retry_on_failure, id).toMatchObject({ max_elapsed_time: '0s' })
      expect(exporter.sending_queue, id).toMatchObject({ storage: 'file_storage', block_on_overflow: true })
      expect(exporter.sending_queue.batch, id).toBeDefined()
    }
    expect(config.service.extensions).toContain('file_storage')
    expect(config.extensions.file_storage).toMatchObject({ create_directory: true, fsync: true })
  })

  test('into Kafka: all in-sync replicas, topics made by us, and no batch above what a topic takes in one record', () => {
    const kafka = config.exporters.kafka
    if (kafka === undefined) return expect(name).not.toMatch(/kafka$/)
    expect(kafka.producer).toMatchObject({ required_acks: -1, allow_auto_topic_creation: false })
    expect(kafka.sending_queue.batch).toMatchObject({ sizer: 'bytes' })
    expect(kafka.sending_queue.batch.max_size).toBeLessThan(kafka.producer.max_message_bytes)
  })
})
