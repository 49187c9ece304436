// Random Cut Forest with its defaults, one forest a series, single-threaded: the peer of `bench score`.
//
// usage: java -cp "LIBS/*" RcfPeer.java < series     first line of a series: its length, then one value a line; 0 ends the input
// The first pass warms the JIT compiler up; the second is timed. Prints points, seconds and the sum of scores (so that nothing is optimised away).

import com.amazon.randomcutforest.RandomCutForest;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

public class RcfPeer {
    private static final int TREES = 30;
    private static final int SAMPLES = 256;
    private static final int SHINGLE = 8;

    public static void main(String[] arguments) throws Exception {
        List<double[]> corpus = new ArrayList<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (int length = Integer.parseInt(in.readLine()); length > 0; length = Integer.parseInt(in.readLine())) {
            double[] series = new double[length];
            for (int row = 0; row < length; row++) series[row] = Double.parseDouble(in.readLine());
            corpus.add(series);
        }
        long points = 0;
        long nanos = 0;
        double sum = 0;
        for (int pass = 0; pass < 2; pass++) {
            points = 0;
            nanos = 0;
            for (double[] series : corpus) {
                RandomCutForest forest = RandomCutForest.builder().dimensions(SHINGLE).shingleSize(SHINGLE).internalShinglingEnabled(true)
                    .numberOfTrees(TREES).sampleSize(SAMPLES).randomSeed(42).parallelExecutionEnabled(false).build();
                double[] point = new double[1];
                long begun = System.nanoTime();
                for (double value : series) {
                    point[0] = value;
                    sum += forest.getAnomalyScore(point);
                    forest.update(point);
                }
                nanos += System.nanoTime() - begun;
                points += series.length;
            }
        }
        System.out.printf(Locale.ROOT, "{\"points\":%d,\"seconds\":%.3f,\"sum\":%.3f}%n", points, nanos / 1e9, sum);
    }
}
