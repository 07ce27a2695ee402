# A text classifier on private text: train a small transformer, share it, ask it. Owner and client in one script.
#
# The sentences are made here. Whether one praises or complains hangs on two words together: "good" praises, "not good"
# complains. The client's sentences are shared word by word, and no worker can read them, nor the model.

library(syfr)

keras <- reticulate::import("keras")
layer <- keras$layers

length_of_text <- 8L
width <- 16L

praise <- c("good", "great", "fine", "lovely", "fresh")
complaint <- c("bad", "awful", "dull", "poor", "stale")
negations <- c("not", "never")
degrees <- c("very", "quite", "really")
things <- c("film", "book", "meal", "trip", "room")
verbs <- c("was", "seemed", "felt")
ends <- c("today", "again")
vocabulary <- c("", "the", "a", things, verbs, negations, degrees, praise, complaint, ends)
kinds <- c("complains", "praises")

one_of <- function(words) sample(words, 1)
perhaps <- function(words) if (runif(1) < 0.5) one_of(words)

sentence <- function(praises, negated) {
  c(
    one_of(c("the", "a")), one_of(things), one_of(verbs),
    if (negated) one_of(negations),
    perhaps(degrees), one_of(if (praises) praise else complaint), perhaps(ends)
  )
}

# The numbers of the words, which count from 0, with zeros behind them.
tokens <- function(words) c(match(words, vocabulary) - 1, rep(0, length_of_text - length(words)))

set.seed(1)
praises <- runif(2000) < 0.5
negated <- runif(2000) < 0.5
x <- t(mapply(function(praises, negated) tokens(sentence(praises, negated)), praises, negated))
y <- as.array(as.integer(xor(praises, negated)))

# What is added for a word's place in the sentence: waves of several lengths.
angles <- outer(seq_len(length_of_text) - 1, 100^(-seq(0, width - 2, by = 2) / width))
waves <- cbind(sin(angles), cos(angles))

# One layer of a transformer.
read <- keras$Input(shape = list(length_of_text))
placed <- keras$ops$add(layer$Embedding(length(vocabulary), width)(read), waves)
attended <- layer$MultiHeadAttention(num_heads = 2L, key_dim = 8L)(placed, placed)
normal <- layer$LayerNormalization()(layer$Add()(list(placed, attended)))
wide <- layer$Dense(2L * width, activation = "gelu")(normal)
normal <- layer$LayerNormalization()(layer$Add()(list(normal, layer$Dense(width)(wide))))
pooled <- layer$GlobalAveragePooling1D()(normal)
model <- keras$Model(read, layer$Dense(length(kinds), activation = "softmax")(pooled))

keras$utils$set_random_seed(1L)
model$compile(
  optimizer = keras$optimizers$Adam(0.005), loss = "sparse_categorical_crossentropy", metrics = list("accuracy")
)
seen <- 1:1500
invisible(model$fit(x[seen, ], as.array(y[seen]), batch_size = 32L, epochs = 6L, verbose = 0L))
right <- model$evaluate(x[-seen, ], as.array(y[-seen]), verbose = 0L)[[2]]
cat("Right about ", format(100 * right, digits = 3), " % of sentences that it has not seen.\n", sep = "")

# What the weights allow is more than the number format holds, as in most transformers: sentences say what occurs.
cluster <- sy_start(sy_cluster_local())
shared <- sy_share(model, cluster, calibrate = x[1:100, ], allow_unproven = TRUE, classes = kinds)
sy_serve(shared, num_requests = 4, block = FALSE)

# The client, who could as well be elsewhere: it has the vocabulary, and nothing of the model.
client <- client_connect_to_model(sy_client(), c(1, length_of_text), c(1, length(kinds)), cluster)

for (text in c(
  "the film was good",
  "the film was not good",
  "a trip felt never really awful today",
  "the meal seemed very stale again"
)) {
  probabilities <- client_query_model(client, matrix(tokens(strsplit(text, " ")[[1]]), nrow = 1))
  cat(text, ": ", kinds[which.max(probabilities)], " (", format(max(probabilities), digits = 3), ")\n", sep = "")
}

sy_stop(cluster)
