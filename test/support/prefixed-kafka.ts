// A Kafka client that sees topics and groups of one prefix only, as if they had the cluster for themselves: tests of the log share a
// broker, and our topics' names are fixed.

import type { Fetched, KafkaClient, TopicSettings } from '../../pipeline/log/kafka/kafka-client.ts'

/** The client with `prefix` before every topic's and group's name, and taken off again from what comes back. */
export function prefixedKafka(client: KafkaClient, prefix: string): KafkaClient {
  const name = (topic: string): string => prefix + topic
  const put = <T extends { topic: string }>(one: T): T => ({ ...one, topic: name(one.topic) })
  const off = <T extends { topic: string }>(one: T): T => ({ ...one, topic: one.topic.slice(prefix.length) })
  const offAll = (one: Fetched): Fetched => ({ ...off(one), records: one.records.map(off) })
  return {
    async openProducer() {
      const producer = await client.openProducer()
      return { ...producer, send: batches => producer.send(batches.map(put)), close: () => producer.close() }
    },
    async openFetcher() {
      const fetcher = await client.openFetcher()
      return {
        async leaders(partitions) {
          return new Map([...(await fetcher.leaders(partitions.map(put)))].map(([broker, list]) => [broker, list.map(off)]))
        },
        fetch: async (broker, requests, limits) => (await fetcher.fetch(broker, requests.map(put), limits)).map(offAll),
        close: () => fetcher.close()
      }
    },
    async openAdmin() {
      const admin = await client.openAdmin()
      const bare = (topic: TopicSettings): TopicSettings => ({ ...topic, name: topic.name.slice(prefix.length) })
      return {
        describe: async (topics, configs) => (await admin.describe(topics.map(name), configs)).map(bare),
        create: topics => admin.create(topics.map(topic => ({ ...topic, name: name(topic.name) }))),
        grow: (topic, partitions) => admin.grow(name(topic), partitions),
        alterConfigs: (topic, configs) => admin.alterConfigs(name(topic), configs),
        async partitionCounts(topics) {
          return new Map([...(await admin.partitionCounts(topics.map(name)))].map(([topic, count]) => [topic.slice(prefix.length), count]))
        },
        offsets: topic => admin.offsets(name(topic)),
        committed: async (group, topics) => (await admin.committed(name(group), topics.map(name))).map(off),
        groups: async wanted => (await admin.groups(name(wanted))).map(group => group.slice(prefix.length)),
        brokers: () => admin.brokers(),
        close: () => admin.close()
      }
    },
    async join(options) {
      const member = await client.join({
        ...options,
        group: name(options.group),
        topics: options.topics.map(name),
        onAssigned: share => options.onAssigned({ ...share, partitions: share.partitions.map(off) })
      })
      return {
        commit: (generation, positions) => member.commit(generation, positions.map(put)),
        committed: async partitions => (await member.committed(partitions.map(put))).map(off),
        leave: forGood => member.leave(forGood)
      }
    }
  }
}
