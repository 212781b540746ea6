"""What the built-in suites, domains, networks and methods ask to be cited for, as BibTeX entries.

A field that we could not confirm is left out.
"""

# Benchmarks and methods.
GUO_2019 = """\
@inproceedings{guo2019spottune,
  author = {Guo, Yunhui and Shi, Honghui and Kumar, Abhishek and Grauman, Kristen and
            Rosing, Tajana and Feris, Rogerio},
  title = {{SpotTune}: Transfer Learning through Adaptive Fine-Tuning},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2019},
  pages = {4805--4814},
}
"""
REBUFFI_2017 = """\
@inproceedings{rebuffi2017learning,
  author = {Rebuffi, Sylvestre-Alvise and Bilen, Hakan and Vedaldi, Andrea},
  title = {Learning Multiple Visual Domains with Residual Adapters},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {30},
  year = {2017},
}
"""
REBUFFI_2018 = """\
@inproceedings{rebuffi2018efficient,
  author = {Rebuffi, Sylvestre-Alvise and Bilen, Hakan and Vedaldi, Andrea},
  title = {Efficient Parametrization of Multi-Domain Deep Neural Networks},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2018},
  pages = {8119--8127},
}
"""
BILEN_2017 = """\
@misc{bilen2017universal,
  author = {Bilen, Hakan and Vedaldi, Andrea},
  title = {Universal Representations: The Missing Link between Faces, Text, Planktons, and Cat
           Breeds},
  year = {2017},
  eprint = {1701.07275},
  archiveprefix = {arXiv},
}
"""
LI_2018_LEARNING = """\
@article{li2018learning,
  author = {Li, Zhizhong and Hoiem, Derek},
  title = {Learning without Forgetting},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume = {40},
  number = {12},
  pages = {2935--2947},
  year = {2018},
  note = {Published online in 2017},
}
"""
LI_2018_EXPLICIT = """\
@inproceedings{li2018explicit,
  author = {Li, Xuhong and Grandvalet, Yves and Davoine, Franck},
  title = {Explicit Inductive Bias for Transfer Learning with Convolutional Networks},
  booktitle = {Proceedings of the 35th International Conference on Machine Learning},
  series = {Proceedings of Machine Learning Research},
  volume = {80},
  year = {2018},
  pages = {2825--2834},
}
"""
ROSENFELD_2017 = """\
@misc{rosenfeld2017incremental,
  author = {Rosenfeld, Amir and Tsotsos, John K.},
  title = {Incremental Learning through Deep Adaptation},
  year = {2017},
  eprint = {1705.04228},
  archiveprefix = {arXiv},
}
"""
MALLYA_2018 = """\
@inproceedings{mallya2018piggyback,
  author = {Mallya, Arun and Davis, Dillon and Lazebnik, Svetlana},
  title = {Piggyback: Adapting a Single Network to Multiple Tasks by Learning to Mask Weights},
  booktitle = {Proceedings of the European Conference on Computer Vision},
  year = {2018},
  eprint = {1801.06519},
  archiveprefix = {arXiv},
}
"""
RUSU_2016 = """\
@misc{rusu2016progressive,
  author = {Rusu, Andrei A. and Rabinowitz, Neil C. and Desjardins, Guillaume and Soyer, Hubert and
            Kirkpatrick, James and Kavukcuoglu, Koray and Pascanu, Razvan and Hadsell, Raia},
  title = {Progressive Neural Networks},
  year = {2016},
  eprint = {1606.04671},
  archiveprefix = {arXiv},
}
"""
BEN_ZAKEN_2022 = """\
@inproceedings{benzaken2022bitfit,
  author = {Ben Zaken, Elad and Goldberg, Yoav and Ravfogel, Shauli},
  title = {{BitFit}: Simple Parameter-Efficient Fine-Tuning for Transformer-Based Masked
           Language-Models},
  booktitle = {Proceedings of the 60th Annual Meeting of the Association for Computational
               Linguistics (Volume 2: Short Papers)},
  year = {2022},
  pages = {1--9},
}
"""
KUMAR_2022 = """\
@inproceedings{kumar2022finetuning,
  author = {Kumar, Ananya and Raghunathan, Aditi and Jones, Robbie and Ma, Tengyu and
            Liang, Percy},
  title = {Fine-Tuning Can Distort Pretrained Features and Underperform Out-of-Distribution},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}
"""
LEE_2023 = """\
@inproceedings{lee2023surgical,
  author = {Lee, Yoonho and Chen, Annie S. and Tajwar, Fahim and Kumar, Ananya and Yao, Huaxiu and
            Liang, Percy and Finn, Chelsea},
  title = {Surgical Fine-Tuning Improves Adaptation to Distribution Shifts},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
}
"""
KORNBLITH_2019 = """\
@inproceedings{kornblith2019better,
  author = {Kornblith, Simon and Shlens, Jonathon and Le, Quoc V.},
  title = {Do Better {ImageNet} Models Transfer Better?},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2019},
  pages = {2661--2671},
}
"""
WU_2018 = """\
@inproceedings{wu2018unsupervised,
  author = {Wu, Zhirong and Xiong, Yuanjun and Yu, Stella X. and Lin, Dahua},
  title = {Unsupervised Feature Learning via Non-Parametric Instance Discrimination},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2018},
  pages = {3733--3742},
}
"""

# Networks.
HE_2016 = """\
@inproceedings{he2016deep,
  author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  title = {Deep Residual Learning for Image Recognition},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2016},
  pages = {770--778},
}
"""
WIGHTMAN_2019 = """\
@misc{wightman2019timm,
  author = {Wightman, Ross},
  title = {{PyTorch} Image Models},
  year = {2019},
  doi = {10.5281/zenodo.4414861},
}
"""

# Images.
RUSSAKOVSKY_2015 = """\
@article{russakovsky2015imagenet,
  author = {Russakovsky, Olga and Deng, Jia and Su, Hao and Krause, Jonathan and
            Satheesh, Sanjeev and Ma, Sean and Huang, Zhiheng and Karpathy, Andrej and
            Khosla, Aditya and Bernstein, Michael and Berg, Alexander C. and Fei-Fei, Li},
  title = {{ImageNet} Large Scale Visual Recognition Challenge},
  journal = {International Journal of Computer Vision},
  volume = {115},
  number = {3},
  pages = {211--252},
  year = {2015},
}
"""
MAJI_2013 = """\
@misc{maji2013finegrained,
  author = {Maji, Subhransu and Rahtu, Esa and Kannala, Juho and Blaschko, Matthew and
            Vedaldi, Andrea},
  title = {Fine-Grained Visual Classification of Aircraft},
  year = {2013},
  eprint = {1306.5151},
  archiveprefix = {arXiv},
}
"""
KRIZHEVSKY_2009 = """\
@techreport{krizhevsky2009learning,
  author = {Krizhevsky, Alex},
  title = {Learning Multiple Layers of Features from Tiny Images},
  institution = {University of Toronto},
  year = {2009},
}
"""
MUNDER_2006 = """\
@article{munder2006experimental,
  author = {Munder, Stefan and Gavrila, Dariu M.},
  title = {An Experimental Study on Pedestrian Classification},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume = {28},
  number = {11},
  pages = {1863--1868},
  year = {2006},
}
"""
CIMPOI_2014 = """\
@inproceedings{cimpoi2014describing,
  author = {Cimpoi, Mircea and Maji, Subhransu and Kokkinos, Iasonas and Mohamed, Sammy and
            Vedaldi, Andrea},
  title = {Describing Textures in the Wild},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2014},
  pages = {3606--3613},
}
"""
STALLKAMP_2012 = """\
@article{stallkamp2012man,
  author = {Stallkamp, Johannes and Schlipsing, Marc and Salmen, Jan and Igel, Christian},
  title = {Man vs. Computer: Benchmarking Machine Learning Algorithms for Traffic Sign
           Recognition},
  journal = {Neural Networks},
  volume = {32},
  pages = {323--332},
  year = {2012},
}
"""
NILSBACK_2008 = """\
@inproceedings{nilsback2008automated,
  author = {Nilsback, Maria-Elena and Zisserman, Andrew},
  title = {Automated Flower Classification over a Large Number of Classes},
  booktitle = {Indian Conference on Computer Vision, Graphics and Image Processing},
  year = {2008},
}
"""
LAKE_2015 = """\
@article{lake2015human,
  author = {Lake, Brenden M. and Salakhutdinov, Ruslan and Tenenbaum, Joshua B.},
  title = {Human-Level Concept Learning through Probabilistic Program Induction},
  journal = {Science},
  volume = {350},
  number = {6266},
  pages = {1332--1338},
  year = {2015},
}
"""
NETZER_2011 = """\
@inproceedings{netzer2011reading,
  author = {Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and
            Ng, Andrew Y.},
  title = {Reading Digits in Natural Images with Unsupervised Feature Learning},
  booktitle = {NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
  year = {2011},
}
"""
SOOMRO_2012 = """\
@misc{soomro2012ucf101,
  author = {Soomro, Khurram and Zamir, Amir Roshan and Shah, Mubarak},
  title = {{UCF101}: A Dataset of 101 Human Actions Classes from Videos in the Wild},
  year = {2012},
  eprint = {1212.0402},
  archiveprefix = {arXiv},
}
"""
BILEN_2016 = """\
@inproceedings{bilen2016dynamic,
  author = {Bilen, Hakan and Fernando, Basura and Gavves, Efstratios and Vedaldi, Andrea and
            Gould, Stephen},
  title = {Dynamic Image Networks for Action Recognition},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2016},
  pages = {3034--3042},
}
"""
WAH_2011 = """\
@techreport{wah2011caltech,
  author = {Wah, Catherine and Branson, Steve and Welinder, Peter and Perona, Pietro and
            Belongie, Serge},
  title = {The {Caltech-UCSD} {Birds-200-2011} Dataset},
  institution = {California Institute of Technology},
  number = {CNS-TR-2011-001},
  year = {2011},
}
"""
KRAUSE_2013 = """\
@inproceedings{krause2013object,
  author = {Krause, Jonathan and Stark, Michael and Deng, Jia and Fei-Fei, Li},
  title = {{3D} Object Representations for Fine-Grained Categorization},
  booktitle = {Proceedings of the IEEE International Conference on Computer Vision Workshops},
  year = {2013},
  pages = {554--561},
}
"""
SALEH_2015 = """\
@misc{saleh2015large,
  author = {Saleh, Babak and Elgammal, Ahmed},
  title = {Large-Scale Classification of Fine-Art Paintings: Learning the Right Metric on the Right
           Feature},
  year = {2015},
  eprint = {1505.00855},
  archiveprefix = {arXiv},
}
"""
EITZ_2012 = """\
@article{eitz2012how,
  author = {Eitz, Mathias and Hays, James and Alexa, Marc},
  title = {How Do Humans Sketch Objects?},
  journal = {ACM Transactions on Graphics},
  volume = {31},
  number = {4},
  pages = {44:1--44:10},
  year = {2012},
}
"""
